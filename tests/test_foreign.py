"""What a pipeline file says of messages of others: what it becomes, and every mistake with its place and its remedy."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from commands import tocsin
from tocsin.codecs import Beside, BinarySettings, Cell, Constant, CsvSettings, JsonSettings, TimeSettings
from tocsin.config import Config, load
from tocsin.errors import ConfigError

RULES = "rules: [{alert: A, expr: temp_c > 1}]\n"
AMQP = "amqp: amqp://localhost"
MAPPED = "time: ts, device: id, readings: {t: temp_c}"


def loaded(folder: Path, source: str) -> Config:
    (folder / "p.yaml").write_text(f"pipeline: p\nsource:\n  {source}\n{RULES}")
    return load(folder / "p.yaml")


def flow(text: str) -> str:
    """A mapping in one line as lines."""
    return re.sub(r", (?=[a-z_]+: )(?![^{\[]*[}\]])", "\n  ", text)


def test_a_queue_with_a_mapping(tmp_path: Path) -> None:
    found = loaded(tmp_path, flow(f"{AMQP}, queue: sensors, {MAPPED}")).foreign
    assert found is not None
    cell = Cell("t", *(found.messages.form.cells[0].device,), Constant("temp_c"))  # type: ignore[union-attr]
    assert found.messages.form == JsonSettings(TimeSettings(("ts",)), (cell,))
    broker = found.broker({"TOCSIN_SOURCE_USER": "me", "TOCSIN_SOURCE_PASSWORD": "pw", "TOCSIN_BROKER_USER": "other"})
    assert (broker.partitions, broker.create, broker.address.user, broker.address.password) == (
        ("sensors",),
        False,
        "me",
        "pw",
    )


def test_a_template_says_device_metric_and_labels(tmp_path: Path) -> None:
    source = "mqtt: mqtt://localhost, topic: 'home/{site}/{device}/{metric}', format: numbers, time: $arrival"
    config = loaded(tmp_path, flow(source))
    assert config.foreign is not None
    assert config.foreign.broker({}).queue == "home/+/+/+"
    form = config.foreign.messages.form
    assert isinstance(form, CsvSettings)
    assert form.cells[0].device == Beside("$topic.device")
    assert form.cells[0].labels == (("site", Beside("$topic.site")),)
    assert config.labels == frozenset({"device", "site"})
    assert config.metrics is None
    assert (config.lateness, config.direct) == (5_000_000_000, False)


def test_binary_is_known_by_its_layout(tmp_path: Path) -> None:
    source = f"{AMQP}, queue: [a, b], layout: {{time: double, value: float}}, byte_order: big, time: {{column: time, format: unix_s}}, device: $topic, metric: temp_c, value: value"
    found = loaded(tmp_path, flow(source)).foreign
    assert found is not None
    assert found.partitions == ("a", "b")
    form = found.messages.form
    assert isinstance(form, BinarySettings)
    assert (form.layout, form.byte_order) == ((("time", "double"), ("value", "float")), "big")


def test_without_a_mapping_messages_are_our_own(tmp_path: Path) -> None:
    found = loaded(tmp_path, flow("kafka: kafka://localhost, topic: sensors")).foreign
    assert found is not None
    assert found.messages.form is None
    assert found.broker({}).partitions == ()


@pytest.mark.parametrize(
    ("source", "promise"),
    [
        ("kafka: kafka://h, topic: t, time: $arrival, device: $key, readings: {v: temp_c}", "exactly once: messages are known by their offsets"),
        ("pubsub: pubsub://p, subscription: s", "exactly once"),
        (f"{AMQP}, queue: q, {MAPPED}", "a message without a `message_id` that is given twice is published twice, and its readings are known"),
        (f"{AMQP}, queue: q, time: $arrival, device: id, readings: {{t: temp_c}}", "at least once: a message without a `message_id` that is given twice counts twice"),
        ("mqtt: mqtt://h, topic: t, time: $arrival, device: id, readings: {t: temp_c}", "at least once: a message that is given twice counts twice"),
    ],
)  # fmt: skip
def test_check_says_how_often_a_message_counts(here: Path, source: str, promise: str) -> None:
    loaded(here, flow(source))
    assert promise in tocsin("check", "p.yaml").stdout


@pytest.mark.parametrize(
    ("source", "place", "mistake"),
    [
        (AMQP, "2:1", "`source`: `queue` is missing, as in queue: sensors"),
        (f"{AMQP}, topic: x", "4:3", "`source.topic`: `topic` is for kafka and mqtt; this source is amqp"),
        (f"{AMQP}, kafka: kafka://h", "4:3", "readings come from one place: keep `amqp` or `kafka`"),
        ("file: a.csv, queue: x", "4:3", "`queue` is for amqp; this source is file"),
        ("amqp: kafka://h, queue: q", "3:9", "'kafka://…' is not its address: expected one as in amqp://host"),
        ("amqp: amqp://h:port, queue: q", "3:3", "this is not an address"),
        ("amqp: amqp://h?prefech=3, queue: q", "3:3", "there is no option 'prefech'. Did you mean 'prefetch'?"),
        (f"{AMQP}, queue: [a, a]", "4:3", "the queue 'a' stands here twice"),
        (f"{AMQP}, queue: q, follow: true", "5:3", "`follow` is for files; this source is amqp"),
        (f"{AMQP}, queue: q, format: numbers, start: 2024-01-01", "6:3", "`start` is for files"),
        (f"{AMQP}, queue: q, device: id, readings: {{t: temp_c}}", "2:1", "`time` is missing, as in time: ts, or $arrival"),
        (f"{AMQP}, queue: q, time: $time, device: id, readings: {{t: temp_c}}", "5:3", "there is no `$time` here: RabbitMQ's timestamp is its sender's clock"),
        ("kafka: kafka://h, topic: t, time: $tim, device: id, readings: {t: temp_c}", "5:3", "there is no `$tim` here: kafka has $time and $arrival. Did you mean '$time'?"),
        ("kafka: kafka://h, topic: t, time: {column: $time, format: unix_s}, device: id, readings: {t: temp_c}", "5:3", "`$time` is an instant already"),
        ("mqtt: mqtt://h, topic: t, time: ts, device: $key, readings: {t: temp_c}", "6:3", "there is no `$key` here: mqtt has $topic"),
        ("mqtt: mqtt://h, topic: 'a/x{device}', time: ts, readings: {t: temp_c}", "4:3", "'x{device}' in 'a/x{device}' is no word"),
        ("mqtt: mqtt://h, topic: 'a/{device}', time: ts, device: id, readings: {t: temp_c}", "6:3", "`topic` says the device already"),
        ("mqtt: mqtt://h, topic: 'a/{metric}', time: ts, device: id, readings: {t: temp_c}", "7:3", "`topic` says the metric already"),
        ("mqtt: mqtt://h, topic: 'a/{time}', device: id, readings: {t: temp_c}", "4:3", "{time} cannot stand in a topic"),
        ("kafka: kafka://h, topic: 'a/b'", "4:3", "'a/b' cannot be a topic of Kafka"),
        (f"{AMQP}, queue: q, layout: {{t: doubel}}, time: t, device: $key, readings: {{v: temp_c}}", "5:12", "there is no kind 'doubel'. Did you mean 'double'?"),
        (f"{AMQP}, queue: q, layout: {{t: double, v: float}}, time: t, device: $key, readings: {{w: temp_c}}", "5:3", "there is no column 'w' here, which `source` names. It has: t, v"),
        (f"{AMQP}, queue: q, format: csv, header: [time, value], time: tim, device: $key, readings: {{value: temp_c}}", "6:3", "there is no column 'tim' here, which `source` names. Did you mean 'time'?"),
        (f"{AMQP}, queue: q, format: json, layout: {{t: double}}, {MAPPED}", "6:3", "`layout` is for format binary; this source is json"),
        (f"{AMQP}, queue: q, format: numbers, time: ts, device: $key, metric: temp_c", "6:3", "a number alone has no columns: expected $arrival"),
        ("file: a.csv, format: binary, time: ts, device: id, readings: {t: temp_c}", "4:3", "binary is for messages"),
        (f"{AMQP}, quue: q", "4:3", "there is no key 'quue' here. Did you mean 'queue'?"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_place_and_remedy(tmp_path: Path, source: str, place: str, mistake: str) -> None:
    with pytest.raises(ConfigError) as told:
        loaded(tmp_path, flow(source))
    message = str(told.value)
    assert mistake in message
    assert f"p.yaml:{place}" in message


def test_all_mistakes_are_told_in_one_go(tmp_path: Path) -> None:
    """Each once, though a mapping of many readings names the device for each."""
    source = "amqp: amqp://h?prefech=3, queue: [a, a], follow: true, time: $time, device: $tpic, readings: {t: temp_c, h: hum}"
    with pytest.raises(ConfigError) as told:
        loaded(tmp_path, flow(source))
    lines = sorted(re.findall(r"p\.yaml:(\d+):\d+: `([a-z.]+)`", str(told.value)))
    assert lines == [
        ("3", "source.amqp"),
        ("4", "source.queue"),
        ("5", "source.follow"),
        ("6", "source.time"),
        ("7", "source.device"),
    ]


def test_a_mistake_in_the_address_hides_none_of_the_rules_or_the_broker(tmp_path: Path) -> None:
    source = flow("amqp: amqp://h?prefech=3, queue: a, time: ts, device: id, readings: {t: temp_x}")
    with pytest.raises(ConfigError) as told:
        loaded(tmp_path, f"{source}\nbroker: kafka://h?foo=1")
    message = str(told.value)
    assert all(word in message for word in ("'prefech'", "'foo'", "no metric 'temp_c'"))


def test_a_format_that_is_not_known_is_told_with_the_one_that_is_near(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"not 'jsn'\. Did you mean 'json'\?"):
        loaded(tmp_path, flow(f"{AMQP}, queue: q, format: jsn, {MAPPED}"))


def test_a_password_is_never_shown(tmp_path: Path) -> None:
    for source in ("amqp: 'amqq://me:secret@h', queue: q", "amqp: 'amqp://me:secret@h:port', queue: q"):
        with pytest.raises(ConfigError) as told:
            loaded(tmp_path, flow(source))
        assert "secret" not in str(told.value)


def test_the_examples_of_the_documentation_can_be_loaded(tmp_path: Path) -> None:
    page = (Path(__file__).parent.parent / "docs" / "pipeline-file.md").read_text()
    part = page.partition("## Messages of others")[2].partition("\n## ")[0]
    examples = re.findall(r"```yaml\n(source:.*?)```", part, re.DOTALL)
    assert len(examples) == 4
    for text in examples:
        metric = "bpm" if "bpm" in text else "temp_c"
        (tmp_path / "p.yaml").write_text(f"pipeline: p\n{text}rules: [{{alert: A, expr: {metric} > 1}}]\n")
        assert load(tmp_path / "p.yaml").foreign is not None
