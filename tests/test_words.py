"""Words that the rules use and the pipeline never gives."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tocsin.alert import Alert, State
from tocsin.document import Document
from tocsin.rule import parse_rules
from tocsin.words import OF_ALERT, unknown_words

LABELS = frozenset({"device", "site"})


def told(annotation: str) -> Iterator[str]:
    """What is told of a rule whose annotation stands in single quotes on line 4 from column 27 on."""
    keys = f"annotations: {{summary: '{annotation}'}}\n  labels: {{severity: critical}}"
    text = f"rules:\n- alert: A\n  expr: v > 1\n  {keys}\n"
    document = Document.parse(text, "f.yaml")
    (rule,) = parse_rules(document.value["rules"], lambda steps: document.place(("rules", *steps)))
    yield from map(str, unknown_words({0: rule}, frozenset({"v"}), LABELS, document))


@pytest.mark.parametrize(
    "annotation",
    [
        "{{ device }} at {{site}} fell {{- value -}} F",
        "{{ severity }}: {{ rule }} since {{ since }}",
        '{{ value | round }} {{ 5 }} {{ "text" }}',
        "{ devise } is no word, nor is {{ }}",
    ],
)
def test_an_annotation_speaks_of_labels_and_of_what_is_known_of_an_alert(annotation: str) -> None:
    assert list(told(annotation)) == []


@pytest.mark.parametrize(
    ("annotation", "says"),
    [
        (
            "{{ devise }} fell",
            "f.yaml:4:30: rule 'A': annotations: an alert has no 'devise' to put here. Did you mean 'device'?",
        ),
        (
            "fell {{ $value }}",
            "f.yaml:4:35: rule 'A': annotations: an alert has no '$value' to put here. Did you mean 'value'?",
        ),
        (
            "{{ $labels.site }}",
            "f.yaml:4:30: rule 'A': annotations: an alert has no '$labels.site' to put here. Did you mean 'site'?",
        ),
        (
            "{{ Value }}",
            "f.yaml:4:30: rule 'A': annotations: an alert has no 'Value' to put here. Did you mean 'value'?",
        ),
        (
            "{{ colour }}",
            "f.yaml:4:30: rule 'A': annotations: an alert has no 'colour' to put here. There are: device, fired,",
        ),
    ],
)
def test_a_word_in_an_annotation_that_is_nothing_of_the_alert_is_told(annotation: str, says: str) -> None:
    (message,) = told(annotation)
    assert message.startswith(says)


def test_what_is_known_of_an_alert_is_what_json_shows_but_its_key() -> None:
    """The key's labels have words of their own."""
    shown = Alert("A", (("device", "a"),), 0, State.FIRING).to_json()
    assert {*OF_ALERT, "key"} == shown.keys()
