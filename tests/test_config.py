"""The user's file: what it describes, and every mistake in it with its place and its remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from tocsin.codecs import Cell, Column, Constant, CsvSettings, JsonLinesSettings, NumbersSettings, TimeSettings
from tocsin.config import Config, load, rules_from, store_url
from tocsin.errors import ConfigError, ConfigErrors, SetupError
from tocsin.instant import SECOND

GOOD = """\
pipeline: smart-smoker
source:
  file: smoker.csv
  time: {column: "Time (UTC)", format: "%m/%d/%y %H:%M:%S", zone: UTC}
  readings:
    Channel1: {device: smoker, metric: temp_f}
    Channel2: {device: food-a, metric: temp_f}
rules:
  - alert: SmokerDrop
    expr: drop(temp_f{device="smoker"}[2m30s]) > 15
"""
RULES = "rules: [{alert: A, expr: temp_c > 80}]\n"


def write(folder: Path, text: str) -> Path:
    path = folder / "p.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def config(folder: Path, text: str) -> Config:
    return load(write(folder, text))


def mistakes(folder: Path, text: str) -> list[str]:
    """The messages of a file that cannot be used, the folder left out."""
    with pytest.raises(ConfigError) as error:
        load(write(folder, text))
    return [line.removeprefix(f"{folder}/") for line in str(error.value).splitlines()]


def test_a_wide_csv_names_device_and_metric_of_each_column(tmp_path: Path) -> None:
    found = config(tmp_path, GOOD)
    assert found.name == "smart-smoker"
    assert found.source.path == str(tmp_path / "smoker.csv")
    assert found.codec == CsvSettings(
        time=TimeSettings(("Time (UTC)",), "%m/%d/%y %H:%M:%S", "UTC", "reject"),
        cells=(
            Cell("Channel1", Constant("smoker"), Constant("temp_f")),
            Cell("Channel2", Constant("food-a"), Constant("temp_f")),
        ),
    )
    assert [rule.name for rule in found.rules] == ["SmokerDrop"]


def test_what_is_unsaid_is_what_the_reference_says(tmp_path: Path) -> None:
    found = config(tmp_path, GOOD)
    assert found.store == f"sqlite:///{tmp_path / 'smart-smoker.db'}"
    assert (found.lateness, found.idle_after, found.max_future) == (0, 5 * SECOND, 300 * SECOND)
    assert (found.staleness, found.forget_after) == (300 * SECOND, 86_400 * SECOND)
    assert (found.source.follow, found.source.sort) == (False, False)
    assert (found.devices, found.notify) == ({}, [])


def test_several_metrics_of_one_device_may_share_a_row(tmp_path: Path) -> None:
    text = "source: {file: w.csv, time: ts, device: station, labels: {city: town}, readings: {temp: temp_c, hum: rh}}\n"
    found = config(tmp_path, "pipeline: w\n" + text + RULES)
    assert found.codec == CsvSettings(
        time=TimeSettings(("ts",)),
        cells=(
            Cell("temp", Column("station"), Constant("temp_c"), (("city", Column("town")),)),
            Cell("hum", Column("station"), Constant("rh"), (("city", Column("town")),)),
        ),
    )
    assert found.metrics == frozenset({"temp_c", "rh"})


def test_a_row_may_be_one_reading_whose_metric_is_in_a_column(tmp_path: Path) -> None:
    text = (
        "source: {file: l.csv, delimiter: ';', time: {column: ts, format: unix_ms}, device: d, "
        "metric: {column: name}, value: v}\n"
    )
    found = config(tmp_path, "pipeline: l\n" + text + RULES)
    assert found.codec == CsvSettings(
        time=TimeSettings(("ts",), "unix_ms"), cells=(Cell("v", Column("d"), Column("name")),), delimiter=";"
    )
    assert found.metrics is None


def test_json_lines_take_dotted_paths(tmp_path: Path) -> None:
    text = "source: {file: log.jsonl.gz, time: at, device: id, readings: {a.b.temperature: temp_c}}\n"
    found = config(tmp_path, "pipeline: j\n" + text + RULES)
    assert found.codec == JsonLinesSettings(
        time=TimeSettings(("at",)), cells=(Cell("a.b.temperature", Column("id"), Constant("temp_c")),)
    )


def test_one_number_a_line_has_no_columns_so_names_are_the_names_themselves(tmp_path: Path) -> None:
    text = (
        "source: {file: hr.txt, format: numbers, start: 2024-01-01T00:00:00Z, every: 500ms, device: 207, "
        "metric: temp_c, labels: {ward: icu}}\n"
    )
    found = config(tmp_path, "pipeline: n\n" + text + RULES)
    assert found.codec == NumbersSettings(
        start=1_704_067_200 * SECOND, every=SECOND // 2, device="207", metric="temp_c", labels=(("ward", "icu"),)
    )


def test_a_tsv_is_separated_by_tabs_and_date_and_time_may_be_two_columns(tmp_path: Path) -> None:
    text = "source: {file: h.tsv, time: {column: [Date, Time], format: '%d/%m/%Y %H:%M:%S'}, device: d, readings: {t: temp_c}}\n"
    codec = config(tmp_path, "pipeline: t\n" + text + RULES).codec
    assert isinstance(codec, CsvSettings)
    assert (codec.delimiter, codec.time.columns) == ("\t", ("Date", "Time"))


def test_expected_devices_have_labels_as_they_are_written(tmp_path: Path) -> None:
    found = config(tmp_path, GOOD + "devices: {smoker: {zip: 01234, site: yard}, food-a: }\n")
    assert found.devices == {"smoker": {"zip": "01234", "site": "yard"}, "food-a": {}}


def test_expected_devices_may_stand_in_a_csv_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "devices.csv").write_text("device,zip,site\nsmoker,01234,yard\nfood-a,,\n")
    found = config(tmp_path, GOOD + "devices: devices.csv\n")
    assert found.devices == {"smoker": {"zip": "01234", "site": "yard"}, "food-a": {"zip": "", "site": ""}}


@pytest.mark.parametrize(
    ("csv", "says"),
    [
        ("name,zip\na,1\n", "d.csv:1: expected a column `device` among the columns name, zip."),
        (
            "Device,zip\na,1\n",
            "d.csv:1: expected a column `device` among the columns Device, zip. Did you mean 'Device'?",
        ),
        ("", "d.csv:1: expected a column `device` among the columns (none)."),
        ("device,zip\na\n", "d.csv:2: expected 2 cells (device, zip), found 1"),
        ("device,zip\na,1\na,2\n", "d.csv:3: device 'a' stands here twice; keep one of them"),
        ("device,,zip\na,1,2\n", "d.csv:1: column 2 has no name: expected a label"),
        ("device,zip,zip\na,1,2\n", "d.csv:1: the column 'zip' stands here twice: keep one of them"),
        ("device,zip\n,1\n", "d.csv:2: expected the name of a device, found a blank cell"),
    ],
)
def test_a_mistake_in_the_csv_of_devices_has_its_line(tmp_path: Path, csv: str, says: str) -> None:
    (tmp_path / "d.csv").write_text(csv)
    assert mistakes(tmp_path, GOOD + "devices: d.csv\n") == [says]


def test_a_missing_csv_of_devices_is_told_where_the_file_names_it(tmp_path: Path) -> None:
    (only,) = mistakes(tmp_path, GOOD + "devices: d.csv\n")
    assert only.startswith("p.yaml:11:10: `devices`: ")
    assert only.endswith("there is no such file")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("pipeline: smart-smoker\n", "", "p.yaml:1:1: `pipeline` is missing. Name of the pipeline: letters,"),
        ("rules:", "ruels:", "p.yaml:8:1: there is no key 'ruels' here. Did you mean 'rules'?"),
        ("zone: UTC", "zon: UTC", "p.yaml:4:61: there is no key 'zon' here. Did you mean 'zone'?"),
        ("zone: UTC", "zone: US/Pacifc", "p.yaml:4:67: `source.time.zone`: 'US/Pacifc' is not a time zone"),
        ("%m/%d/%y %H:%M:%S", "iso8061", "p.yaml:4:41: `source.time.format`: 'iso8061' is not a format of time"),
        (
            "metric: temp_f}\n    Ch",
            "metric: 1st}\n    Ch",
            "p.yaml:6:40: `source.readings.Channel1.metric`: '1st' can",
        ),
        ("  file: smoker.csv\n", "", "p.yaml:2:1: `source`: expected `file:` or `http:`, where readings come from"),
        ("smoker.csv", "smoker.dat", "p.yaml:3:3: `source.file`: the format cannot be told from the name 'smoker.dat'"),
        (
            "  file:",
            "  format: cvs\n  file:",
            "p.yaml:3:11: `source.format`: expected csv, json, json_lines, line_protocol, numbers or binary, not",
        ),
        (
            "  file:",
            "  every: 5s\n  file:",
            "p.yaml:3:3: `source.every`: `every` is for format numbers; this source is csv",
        ),
        ("  file:", "  follow: yes\n  file:", "p.yaml:3:11: `source.follow`: expected true or false, not 'yes'"),
        (
            "  file:",
            "  follow: true\n  sort: true\n  file:",
            "p.yaml:4:3: `source.sort`: a file that is followed never ends",
        ),
        ("  file:", "  value: v\n  file:", "p.yaml:3:3: `source.value`: `readings` says already"),
        ("device: smoker, ", "", "p.yaml:6:5: `source.readings.Channel1`: whose readings are these?"),
        ("rules:", "lateness: 5x\nrules:", "p.yaml:8:11: `lateness`: '5x' is not a duration"),
        ("rules:", "lateness: 5\nrules:", "p.yaml:8:11: `lateness`: expected a duration with its unit"),
        ("rules:", "staleness: 0s\nrules:", "p.yaml:8:12: `staleness`: a duration of zero"),
        (
            "rules:",
            "broker: amqb://u:secret@x\nrules:",
            "p.yaml:8:9: `broker.url`: there is no broker 'amqb'. Did you mean 'amqp'?",
        ),
        ("rules:", "store: a.db\nrules:", "p.yaml:8:8: `store`: 'a.db' is not a URL: expected sqlite:///a.db"),
        ("rules:", "store: mysql://a/b\nrules:", "p.yaml:8:8: `store`: there is no store 'mysql' in this version"),
        ("rules:", "devices: [a]\nrules:", "p.yaml:8:10: `devices`: expected a mapping"),
        ("rules:", "devices: {a: 3}\nrules:", "p.yaml:8:14: `devices.a`: expected the device's labels, as in"),
        ("rules:", "devices: {a: {b: [c]}}\nrules:", "p.yaml:8:18: `devices.a.b`: expected a text, not a list"),
        (
            "rules:",
            "devices: {a: {}, '': {}}\nrules:",
            "p.yaml:8:19: `devices.`: expected the name of a device, found an",
        ),
        ("rules:", "devices: {a: {' ': b}}\nrules:", "p.yaml:8:16: `devices.a. `: expected the name of a label, found"),
        ("rules:", "devices: {a: {device: b}}\nrules:", "p.yaml:8:15: `devices.a.device`: the device is 'a' already"),
        ("rules:", "notify: x\nrules:", "p.yaml:8:9: `notify`: expected a list"),
        (
            "rules:\n  - alert: S",
            "rules:\n  - colour: red\n    alert: S",
            "p.yaml:9:5: rule 'SmokerDrop': a rule has no key 'colour'.",
        ),
        (
            "expr: drop(",
            "levels: {low: {abvoe: 5}}\n    expr: drop(",
            "p.yaml:10:20: rule 'SmokerDrop': levels: a level has no key 'abvoe'. Did you mean 'above'?",
        ),
        ("drop(", "dorp(", "p.yaml:10:11: rule 'SmokerDrop': there is no function 'dorp'. Did you mean 'drop'?"),
        ("drop(temp_f", "drop(temp_c", "p.yaml:10:16: rule 'SmokerDrop': the source gives no metric 'temp_c'. Did you"),
        ("{device=", "{devise=", "p.yaml:10:16: rule 'SmokerDrop': the source gives no label 'devise'. Did you"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_remedy(tmp_path: Path, old: str, new: str, says: str) -> None:
    found = mistakes(tmp_path, GOOD.replace(old, new, 1))
    assert any(line.startswith(says) for line in found), found


@pytest.mark.parametrize("name", ["smart-smoker", "ward_3", "plant-2.1", "'-'", "2024", "'2024'", "true"])
def test_a_pipeline_is_named_with_letters_digits_and_a_few_signs(tmp_path: Path, name: str) -> None:
    assert config(tmp_path, GOOD.replace("smart-smoker", name, 1)).name == name.strip("'")


@pytest.mark.parametrize(
    ("name", "shown", "better"),
    [
        ("../../x", "'../../x'", "x"),
        ("a/b", "'a/b'", "a-b"),
        (".hidden", "'.hidden'", "hidden"),
        ("My cook (2)", "'My cook (2)'", "My-cook-2"),
        ("Räucherofen", "'Räucherofen'", "R-ucherofen"),
        ("'a\nb'", "'a b'", "a-b"),
        ("'..'", "'..'", "smart-smoker"),
        ("''", "''", "smart-smoker"),
        ("[a]", "a list", "smart-smoker"),
    ],
)
def test_a_name_that_would_lead_elsewhere_is_refused_with_a_better_one(
    tmp_path: Path, name: str, shown: str, better: str
) -> None:
    (told,) = mistakes(tmp_path, GOOD.replace("smart-smoker", name, 1))
    assert f"`pipeline`: {shown} cannot be the name of a pipeline: expected letters" in told
    assert told.endswith(f"as in {better}")


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("{file: a.csv, readings: {t: temp_c}, device: d}", "`time` is missing"),
        ("{file: a.csv, time: ts}", "which columns hold numbers?"),
        ("{file: a.csv, time: ts, metric: temp_c, value: v}", "`device` is missing"),
        ("{file: a.csv, time: ts, device: d, metric: temp_c}", "`value` is missing"),
        ("{file: a.csv, time: ts, device: {}, metric: temp_c, value: v}", "expected either `column` or `constant`"),
        ("{file: a.csv, time: ts, device: {column: a, constant: b}, metric: temp_c, value: v}", "expected either"),
        ("{file: a.txt, format: numbers, start: 2024-01-01, device: d, metric: temp_c}", "`every` is missing"),
        ("{file: a.txt, format: numbers, start: noon, every: 1s, device: d, metric: temp_c}", "'noon' is not a time"),
        (
            "{file: a.txt, format: numbers, start: 2300-01-01, every: 1s, device: d, metric: temp_c}",
            "'2300-01-01' lies outside the years 1700 to 2199",
        ),
        ("{file: a.txt, format: numbers, start: 2024-01-01, every: 0s, device: d, metric: temp_c}", "duration of zero"),
        ("{file: a.txt, format: numbers, start: 2024-01-01, every: 1s, device: d, metric: {column: m}}", "no columns"),
        ("{file: a.csv, delimiter: '::', time: ts, device: d, readings: {t: temp_c}}", "expected one character"),
        ("{file: a.csv, time: ts, device: d, readings: {}}", "is empty: expected at least one"),
        ("a.csv", "expected a mapping (key: value), not 'a.csv'"),
    ],
)
def test_a_source_that_does_not_fit_together_is_told(tmp_path: Path, source: str, says: str) -> None:
    (only,) = mistakes(tmp_path, f"pipeline: p\nsource: {source}\n{RULES}")
    assert only.startswith("p.yaml:2:")
    assert says in only


def test_every_mistake_is_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = GOOD.replace("zone: UTC", "zon: UTC").replace("drop(", "dorp(") + "lateness: 5x\nlateness: 3s\n"
    lines = [line.split(" ")[0] for line in mistakes(tmp_path, text)]
    assert lines == ["p.yaml:4:61:", "p.yaml:10:11:", "p.yaml:11:11:", "p.yaml:12:1:"]


def test_a_mistake_of_one_kind_hides_none_of_another(tmp_path: Path) -> None:
    """Keys, kinds, expressions and words are looked at in one run, beside each other and in one rule."""
    text = GOOD.replace("pipeline: smart-smoker", "lateness: 5x\npipelin: p") + (
        "    fro: 3m\n"
        "  - {alert: B, expr: temp_c > 1, colour: red, by: [device, sit]}\n"
        "  - {alert: C, expr: temp_f, for: soon}\n"
        "  - {expr: temp_k > 1}\n"
    )
    told = [line.split(": ", 1) for line in mistakes(tmp_path, text)]
    assert [(place, message[:40]) for place, message in told] == [
        ("p.yaml:1:1", "`pipeline` is missing. Name of the pipel"),
        ("p.yaml:1:11", "`lateness`: '5x' is not a duration: expe"),
        ("p.yaml:2:1", "there is no key 'pipelin' here. Did you "),
        ("p.yaml:12:5", "rule 'SmokerDrop': a rule has no key 'fr"),
        ("p.yaml:13:22", "rule 'B': the source gives no metric 'te"),
        ("p.yaml:13:34", "rule 'B': a rule has no key 'colour'. Th"),
        ("p.yaml:13:60", "rule 'B': the source gives no label 'sit"),
        ("p.yaml:14:22", "rule 'C': expr: this is a number and nev"),
        ("p.yaml:14:35", "rule 'C': for: 'soon' is not a duration:"),
        ("p.yaml:15:5", "rule number 4: alert: expected a name fo"),
        ("p.yaml:15:12", "rule number 4: the source gives no metri"),
    ]


def test_a_mistake_in_the_source_hides_none_in_the_broker(tmp_path: Path) -> None:
    text = GOOD.replace("rules:", "broker: 'kafka://h:99999'\nrules:").replace("  file:", "  topic: x\n  file:")
    assert [line.split("`")[1] for line in mistakes(tmp_path, text)] == ["source.topic", "broker.url"]


def test_where_the_source_or_the_devices_are_wrong_no_word_of_a_rule_is_called_unknown(tmp_path: Path) -> None:
    text = GOOD.replace("temp_f{device", "temp_c{sit").replace("> 15", "> limit('most')")
    for old, new in (
        ("  file:", "  fiel: x\n  file:"),
        ("rules:", "devices: none.csv\nrules:"),
        ("rules:", "devices: [a]\nrules:"),
    ):
        assert len(mistakes(tmp_path, text.replace(old, new, 1))) == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "the file is empty"),
        ("# nothing\n", "the file is empty"),
        ("- a\n", "expected a mapping with the keys pipeline, source and rules"),
        ("a: \t b\n\tc", "a tab"),
    ],
)
def test_a_file_that_is_no_pipeline_is_told(tmp_path: Path, text: str, says: str) -> None:
    (only,) = mistakes(tmp_path, text)
    assert says in only


def test_an_empty_list_of_rules_is_a_mistake(tmp_path: Path) -> None:
    text = GOOD[: GOOD.index("rules:")]
    assert mistakes(tmp_path, text + "rules: []\n") == ["p.yaml:8:8: `rules`: is empty: expected at least one"]
    assert mistakes(tmp_path, text + "rules:\n")[0].startswith("p.yaml:9:1: `rules`: expected a list")


def test_a_label_that_no_reading_has_is_unknown_in_by_matchers_and_limits(tmp_path: Path) -> None:
    rules = """\
rules:
  - alert: A
    expr: temp_c > limit("max_temp")
    by: [device, sit]
  - alert: B
    expr: temp_c{kind="oven"} > limit("max_temp", 75)
"""
    source = "pipeline: p\nsource: {file: a.csv, time: ts, device: d, labels: {site: s}, readings: {t: temp_c}}\n"
    assert mistakes(tmp_path, source + rules) == [
        "p.yaml:5:20: rule 'A': the source gives no label 'max_temp'. It gives device, site.",
        "p.yaml:6:18: rule 'A': the source gives no label 'sit'. Did you mean 'site'?",
        "p.yaml:8:11: rule 'B': the source gives no label 'kind'. It gives device, site.",
    ]
    devices = "devices: {oven: {kind: oven, max_temp: 90, sit: x}}\n"
    assert len(config(tmp_path, source + rules + devices).rules) == 2


def test_a_limit_that_every_device_gets_by_default_is_advised_of(tmp_path: Path) -> None:
    text = GOOD.replace("> 15", '> limit("most", 15)')
    assert config(tmp_path, text).advice() == [
        f"{tmp_path}/p.yaml:10:50: rule 'SmokerDrop': no device has the label 'most': each gets 15"
    ]
    assert config(tmp_path, text + "devices: {smoker: {most: 20}}\n").advice() == []


def test_a_store_is_a_file_beside_the_pipeline_unless_its_path_is_absolute() -> None:
    assert store_url("sqlite:///a.db", Path("/p")) == "sqlite:////p/a.db"
    assert store_url("sqlite:////q/a.db", Path("/p")) == "sqlite:////q/a.db"
    for wrong in ("sqlite://", "sqlite:///", "sqlite://a.db"):
        with pytest.raises(ValueError, match="three strokes"):
            store_url(wrong, Path())


def test_another_recording_is_read_like_the_first_and_never_followed(tmp_path: Path) -> None:
    found = config(tmp_path, GOOD.replace("  file:", "  follow: true\n  file:"))
    other = found.reading_from(Path("other.csv"))
    assert (other.source.path, other.source.follow, other.codec) == ("other.csv", False, found.codec)


def test_rules_come_as_text_as_a_path_or_as_mappings(tmp_path: Path) -> None:
    rule = {"alert": "A", "expr": "temp_c > 80", "for": "3 readings"}
    as_text = "- alert: A\n  expr: temp_c > 80\n  for: 3 readings\n"
    path = tmp_path / "rules.yaml"
    path.write_text(as_text)
    found = [rules_from(given) for given in ([rule], as_text, path, str(path), f"rules:\n{as_text}")]
    assert all([one.fingerprint for one in rules] == [found[0][0].fingerprint] for rules in found)
    assert [one.name for one in rules_from(write(tmp_path, GOOD))] == ["SmokerDrop"]


def test_mistakes_in_rules_alone_have_their_place_too(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors, match=r"rules:2:9: .*'dorp'. Did you mean 'drop'"):
        rules_from("- alert: A\n  expr: dorp(v[1m]) > 1\n")
    with pytest.raises(ConfigError, match="there is no rule here"):
        rules_from("[]")
    with pytest.raises(ConfigError, match="empty"):
        rules_from("")
    with pytest.raises(SetupError, match="there is no such file"):
        rules_from(tmp_path / "none.yaml")


def test_a_limit_that_is_no_number_would_leave_its_device_unwatched(tmp_path: Path) -> None:
    text = GOOD.replace('drop(temp_f{device="smoker"}[2m30s]) > 15', 'temp_f > limit("max", 75)')
    (told,) = mistakes(tmp_path, text + "devices:\n  smoker: {max: 300}\n  food-a: {max: hot}\n")
    assert told.startswith("p.yaml:13:")
    assert "the label 'max' of device 'food-a' is a limit of a rule, and 'hot' is no number" in told
