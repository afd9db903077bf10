"""Templates of topics: which topics are meant, and what their words are."""

from __future__ import annotations

import pytest

from tocsin.topic import Template


@pytest.mark.parametrize(
    ("text", "asked", "topic", "words"),
    [
        ("plant/{device}/{metric}", "plant/+/+", "plant/p7/temp", ("p7", "temp")),
        ("home/{site}/{device}/{metric}", "home/+/+/+", "home/attic/s 1/hum", ("attic", "s 1", "hum")),
        ("plant/+/{device}/#", "plant/+/+/#", "plant/a/b", ("b",)),
        ("plant/+/{device}/#", "plant/+/+/#", "plant/a/b/c/d", ("b",)),
        ("plant/temp", "plant/temp", "plant/temp", ()),
        ("#", "#", "any/thing", ()),
        ("a.b/{x}", "a.b/+", "a.b/", ("",)),
        ("$share/us/plant/{device}", "$share/us/plant/+", "plant/p7", ("p7",)),
    ],
)
def test_a_template_asks_for_topics_and_takes_them_apart(
    text: str, asked: str, topic: str, words: tuple[str, ...]
) -> None:
    template = Template(text)
    assert template.filter == asked
    assert template.words(topic) == words


@pytest.mark.parametrize("topic", ["plant/p7", "plant/p7/temp/more", "other/p7/temp", "a.b"])
def test_a_topic_of_another_kind_has_no_words(topic: str) -> None:
    assert Template("plant/{device}/{metric}").words(topic) is None
    assert Template("a.b/{x}").words("aXb/1") is None


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("plant/{device}/{device}", "{device} stands in 'plant/{device}/{device}' twice"),
        ("plant/x{device}", "'x{device}' in 'plant/x{device}' is no word"),
        ("plant/{de vice}", "is no word"),
        ("plant/a+/b", "+ stands for a whole level"),
        ("plant/#/b", "# stands at the end alone"),
    ],
)
def test_a_mistake_in_a_template_is_told(text: str, mistake: str) -> None:
    with pytest.raises(ValueError, match=r"'") as told:
        Template(text)
    assert mistake in str(told.value)
