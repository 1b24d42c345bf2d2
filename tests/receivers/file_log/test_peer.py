"""The same configuration and the same files through the upstream Collector and through this receiver give the same
records.

Each case is a folder of its own and a receiver of its own; one upstream process runs them all. Compared field by
field: body, attributes, resource, time, severity. Cases that differ on purpose stand in docs/adr/0003-file-log.md and
are tested elsewhere.
"""

# ruff: noqa: E501 (one case a line reads best)

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from heliograph.testing.wait import until

CRI = (
    "2024-04-13T08:00:00.505201169Z stdout F hello\n"
    "2024-04-13T08:00:00.5Z stderr F trimmed zeros\n"
    "2024-04-13T10:00:00.000000001+02:00 stdout F crio\n"
    "2024-04-13T08:00:01.1Z stdout P one,\n"
    "2024-04-13T08:00:01.2Z stdout P two,\n"
    "2024-04-13T08:00:01.3Z stdout F three\n"
    "2024-04-13T08:00:01.4Z stdout F   lead and trail  \n"
    "2024-04-13T08:00:01.5Z stdout F\n"
    "2024-04-13T08:00:01.6Z stdout F d\u00f6ner \u30c6\u30b9\u30c8\n"
    "2024-04-13T08:00:01.7Z stdout X odd,\n"
    "2024-04-13T08:00:01.8Z stdout F tag\n"
    "not a container line\n"
    "2024-04-13T08:00:01.9Z nostream F x\n"
    "1969-04-13T08:00:01.9Z stdout F before the epoch\n"
    "2024-04-13T08:00:02Z stdout F no fraction\n"
    "2024-13-13T08:00:02.1Z stdout F no such month\n"
    "2024-04-13T08:00:03.1Z stdout F \\e[31mred\\e[0m\r\n"
)
POD = "ns_pod_11111111-aaaa/app/0.log"


def case(name: str, text: str | bytes, *operators: dict[str, Any], file: str = "a.log", **keys: Any) -> Any:
    return pytest.param(name, text, list(operators), file, keys, id=name)


def op(type_: str, **keys: Any) -> dict[str, Any]:
    return {"type": type_, **{name.rstrip("_"): value for name, value in keys.items()}}


CASES = [
    case("container", CRI, op("container"), file=POD, include_file_path=True),
    case("container_containerd", CRI.replace("X odd", "F odd"), op("container", format="containerd"), file=POD, include_file_path=True),
    case("container_crio", CRI, op("container", format="crio"), file=POD, include_file_path=True),
    case("container_no_metadata", CRI, op("container", add_metadata_from_filepath=False), file="x.log", include_file_path=True),
    case("container_wrong_path", "2024-04-13T08:00:00.1Z stdout F a\n", op("container"), file="x.log", include_file_path=True),
    case("container_drop", "bad\n" + CRI, op("container", on_error="drop"), file=POD, include_file_path=True),
    case("container_then", CRI, op("container"), op("move", from_="attributes.logtag", to="attributes.tag", if_="body != ''"), file=POD, include_file_path=True),
    case("plain", " a \n\n\tb\t\nc \xa0\nlast without end", include_file_path=True, include_file_record_number=True, include_file_record_offset=True),
    case("preserve", " a \n\n \n\tb\t\n", preserve_leading_whitespaces=True, preserve_trailing_whitespaces=True),
    case("invalid_utf8", b"a\xffb\xe2\x82c\n\xf0\x9f\x98\n"),
    case("long", "x" * 2500 + "\nend\n", max_log_size=1000),
    case("utf16", "eins\nzw\u00f6lf\n".encode("utf-16-le"), encoding="utf-16le"),
    case("latin1", "zw\u00f6lf\n".encode("latin1"), encoding="latin1"),
    case("multiline_start", "head\nA 1\n x\nA 2\nA 3\n y\n", multiline={"line_start_pattern": "^A"}),
    case("multiline_end", "a\nb;\nc;d;\nrest", multiline={"line_end_pattern": ";"}),
    case("multiline_omit", "a1b22c", multiline={"line_end_pattern": "[0-9]+", "omit_pattern": True}),
    case("multiline_start_omit", "A 1\n x\nA 2\n y\nA 3", multiline={"line_start_pattern": "^A ", "omit_pattern": True}),
    case("regex", "k=v 12\nnothing here\nx=y\n", op("regex_parser", regex=r"^(?P<key>\w+)=(?P<value>\w+)(?: (?P<n>\d+))?")),
    case("regex_to_body", "k=v 12\nno\n", op("regex_parser", regex=r"(?P<key>\w+)=(?P<rest>.*)", parse_to="body", on_error="drop")),
    case("regex_posix", "ab 12\n", op("regex_parser", regex=r"^(?P<a>[[:alpha:]]+)\s(?P<b>[[:digit:]]+)\z")),
    case("json", '{"a":1,"b":1.5,"c":"x","d":[1,null,true],"e":{"f":{}},"g":null}\n{bad\n[1]\n"s"\n{"a":1}\n', op("json_parser")),
    case("json_ints", '{"a":1,"b":12345678901234,"c":1.0,"t":"2024-01-02 03:04:05.123 +0100","l":"warning"}\n', op("json_parser", parse_to="body", parse_ints=True, timestamp={"parse_from": "body.t", "layout": "%Y-%m-%d %H:%M:%S.%L %z"}, severity={"parse_from": "body.l"})),
    case("json_body", '{"msg":"hello","x":1}\n{"y":1}\n', op("json_parser", body="attributes.msg")),
    case("key_value", "a=1 b=\"two words\" c='x y'  d=\nnopairs\nq=\"open\na=b=c\n", op("key_value_parser")),
    case("key_value_pairs", "a: 1 ! b: 2 ! c:3\n", op("key_value_parser", delimiter=":", pair_delimiter="!")),
    case("csv", 'a,b,c\n"x,1","q""q",z\nonly,two\na"b,c,d\n', op("csv_parser", header="one,two,three")),
    case("csv_lazy", 'a"b,c\n"x"y",z\n', op("csv_parser", header="one,two", lazy_quotes=True)),
    case("csv_ignore", '"a|b"|c\n', op("csv_parser", header="one|two|three", delimiter="|", ignore_quotes=True)),
    case("csv_attribute", "1;2\n", op("add", field="attributes.h", value="a;b"), op("csv_parser", header_attribute="h", delimiter=";")),
    case("time", "2024-02-29 23:59:59\nnot a time\n", op("time_parser", parse_from="body", layout="%Y-%m-%d %H:%M:%S", location="America/New_York")),
    case("time_go", "Jan  2 15:04:05 MST 2024\nFeb 10 01:02:03 UTC 2023\n", op("time_parser", parse_from="body", layout_type="gotime", layout="Jan _2 15:04:05 MST 2006")),
    case("time_strptime_names", "Wed Aug 20 14:08:48 EST 2025\n", op("time_parser", parse_from="body", layout="%a %b %d %H:%M:%S %Z %Y")),
    case("time_apache", "10/Oct/2000:13:55:36 -0700\n", op("time_parser", parse_from="body", layout="%d/%b/%Y:%H:%M:%S %z")),
    case("time_fraction", "2024-01-02T03:04:05,123456Z\n2024-01-02T03:04:05Z\n", op("time_parser", parse_from="body", layout="%Y-%m-%dT%H:%M:%SZ")),
    case("time_half", "01/02/24 03:04:05 PM\n12/31/99 12:00:00 AM\n", op("time_parser", parse_from="body", layout="%m/%d/%y %I:%M:%S %p", location="UTC")),
    *[case(f"epoch_{layout.replace('.', '_')}", f"{text}\nx\n", op("time_parser", parse_from="body", layout_type="epoch", layout=layout)) for layout, text in (("s", "1700000000"), ("ms", "1700000000123"), ("us", "1700000000123456"), ("ns", "1700000000123456789"), ("s.ms", "1700000000.123"), ("s.us", "1700000000.123456"), ("s.ns", "1700000000.123456789"))],
    case("severity", "error\nWARN\nInfo3\n17\nnosuch\nerr\nfatal\ncritical\n", op("severity_parser", parse_from="body")),
    case("severity_mapping", "404\n200\n503\noops\nfine\n7\n", op("severity_parser", parse_from="body", preset="none", mapping={"error": ["oops", "5xx"], "warn": "4xx", "info": [{"min": 200, "max": 299}, "fine"], "debug2": 7})),
    case("severity_overwrite", "err\ninfo2\nx\n", op("severity_parser", parse_from="body", overwrite_text=True)),
    case("add", "x\n", op("add", field="attributes.n", value=5), op("add", field="attributes.deep.er", value={"a": [1, 1.5, True, "x"]}), op("add", field='attributes["dot.ted"]', value="EXPR(body + '!')"), op("add", field="resource.r", value="EXPR(upper(body))"), op("add", field="attributes.f", value=1.5), op("add", field="attributes.t", value=True)),
    case("move", "x\n", op("move", from_="body", to="body.message"), op("move", from_="attributes.nosuch", to="body.y"), op("copy", from_="body.message", to="attributes.copy"), op("copy", from_="body", to="attributes.all")),
    case("move_back", '{"a":{"b":1},"c":2}\n', op("json_parser", parse_to="body"), op("move", from_="body.a", to="body")),
    case("remove", '{"a":{"b":1,"c":2},"d":3}\n', op("json_parser", parse_to="body"), op("remove", field="body.a.b"), op("remove", field="body.nosuch"), op("remove", field="attributes")),
    case("flatten", '{"a":{"b":1,"d":{"e":2}},"d":3}\n{"a":1}\n{}\n', op("json_parser", parse_to="body"), op("flatten", field="body.a")),
    case("retain", '{"a":{"b":1,"c":2},"d":3}\n', op("json_parser", parse_to="body"), op("retain", fields=["body.a.b", "body.nosuch", "attributes.nosuch"])),
    case("unquote", '"a\\tb\\u00e9"\n`raw`\nplain\n"open\n', op("unquote", field="body")),
    case("regex_replace", "a1b22\n{x}{yy}\n", op("regex_replace", field="body", regex="[0-9]+", replace_with="#"), op("regex_replace", field="body", regex="{(.*?)}", replace_with="<${1}>")),
    case("ansi", "\x1b[31mred\x1b[0m\n", op("regex_replace", field="body", regex_name="ansi_control_sequences")),
    case("noop", "a\n", op("noop")),
    case("filter", "keep\ndrop me\n5\n", op("filter", expr='body matches "^drop"')),
    case("router", "a1\nb2\nc3\n", op("router", routes=[{"expr": 'body startsWith "a"', "output": "first"}, {"expr": 'body contains "2"', "output": ["second"], "attributes": {"route": "b"}}], default="third"), op("add", id="first", field="attributes.which", value=1, output="end"), op("add", id="second", field="attributes.which", value=2, output="end"), op("add", id="third", field="attributes.which", value=3, output="end"), op("noop", id="end")),
    case("recombine_first", "A 1\n x\n y\nA 2\nA 3\n z\n", op("recombine", combine_field="body", is_first_entry='body matches "^A"', source_identifier='attributes["log.file.name"]', force_flush_period="500ms"), preserve_leading_whitespaces=True),
    case("recombine_last", "a\nb.\nc.\nd\n", op("recombine", combine_field="body", combine_with="|", is_last_entry='body endsWith "."', overwrite_with="newest", source_identifier='attributes["log.file.name"]', force_flush_period="500ms"), include_file_record_number=True),
    case("recombine_size", "a\nb\nc\nd\ne\n", op("recombine", combine_field="body", is_first_entry='body == "x"', max_batch_size=2, source_identifier='attributes["log.file.name"]', force_flush_period="500ms")),
    case("if", "5\nabc\n\u00e9\u00e9\n", op("add", field="attributes.long", value=True, if_="len(body) > 2"), op("add", field="attributes.name", value=True, if_='attributes["log.file.name"] == "a.log" and not (body in ["5", "6"])'), op("add", field="attributes.nil", value=True, if_="attributes.x == nil ? true : false"), op("add", field="attributes.never", value=True, if_='attributes.x > 3')),
    case("attributes", "x\n", attributes={"a": "b", "home": 'EXPR(env("HOME"))'}, resource={"service.name": "s"}),
]  # fmt: skip


def value(any_value: dict[str, Any]) -> Any:
    """A value of OTLP/JSON as Python data, integers apart from floats."""
    if not any_value:
        return None
    kind, content = next(iter(any_value.items()))
    if kind == "kvlistValue":
        return {pair["key"]: value(pair.get("value", {})) for pair in content.get("values", [])}
    if kind == "arrayValue":
        return [value(item) for item in content.get("values", [])]
    if kind == "intValue":
        return ("int", int(content))
    if kind == "doubleValue":
        return ("double", float(content))
    return base64.b64decode(content) if kind == "bytesValue" else content


def tagged(item: Any) -> Any:
    """Python data of our records in the same form."""
    if isinstance(item, bool) or item is None:
        return item
    if isinstance(item, int | float):
        return ("int" if isinstance(item, int) else "double", item)
    if isinstance(item, dict):
        return {name: tagged(below) for name, below in item.items()}
    return [tagged(below) for below in item] if isinstance(item, list) else item


def upstream_records(path: Path) -> list[Any]:
    records = []
    for line in path.read_text().splitlines() if path.exists() else []:
        for logs in json.loads(line)["resourceLogs"]:
            resource = {pair["key"]: value(pair["value"]) for pair in logs["resource"].get("attributes", [])}
            for record in logs["scopeLogs"][0]["logRecords"]:
                attributes = {pair["key"]: value(pair.get("value", {})) for pair in record.get("attributes", [])}
                severity = (record.get("severityNumber", 0), record.get("severityText", ""))
                time = int(record.get("timeUnixNano", 0))
                records.append((value(record.get("body", {})), attributes, resource, time, severity))
    return records


def our_records(running: Any) -> list[Any]:
    return [(tagged(r.body), tagged(r.attributes), tagged(r.resource), r.time, r.severity) for r in running.records]


def settings_of(folder: Path, keys: dict[str, Any], operators: list[Any]) -> dict[str, Any]:
    return {
        "include": [f"{folder}/**/*.log"],
        "start_at": "beginning",
        "poll_interval": "50ms",
        "force_flush_period": "300ms",
        "operators": operators,
        **keys,
    }


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("peer")
    for parameters in CASES:
        name, text, _, file, _ = parameters.values
        path = root / name / file
        path.parent.mkdir(parents=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return root


@pytest.fixture(scope="module")
def upstream(written: Path, lab: Path) -> Callable[[str], list[Any]]:
    """The records of each case, as the upstream Collector reads them."""
    import subprocess
    import time

    binary = lab / "collector" / "collector"
    if not binary.exists():
        pytest.skip("the upstream Collector is not here")
    config: dict[str, Any] = {
        "receivers": {},
        "exporters": {},
        "service": {"pipelines": {}, "telemetry": {"metrics": {"level": "none"}}},
    }
    for parameters in CASES:
        name, _, operators, _, keys = parameters.values
        config["receivers"][f"file_log/{name}"] = settings_of(written / name, keys, operators)
        config["exporters"][f"file/{name}"] = {"path": str(written / f"{name}.json"), "flush_interval": "50ms"}
        config["service"]["pipelines"][f"logs/{name}"] = {
            "receivers": [f"file_log/{name}"],
            "exporters": [f"file/{name}"],
        }
    path = written / "config.yaml"
    path.write_text(yaml.safe_dump(config).replace("$", "$$"))
    with (written / "upstream.log").open("wb") as log:
        process = subprocess.Popen([binary, f"--config={path}"], stdout=log, stderr=log)
    time.sleep(0.5)
    before, stable = None, 0
    end = time.monotonic() + 15
    while stable < 10 and time.monotonic() < end:
        time.sleep(0.2)
        assert process.poll() is None, (written / "upstream.log").read_text()[-3000:]
        sizes = [path.stat().st_size for path in written.glob("*.json")]
        stable = stable + 1 if sizes == before and sum(sizes) else 0
        before = sizes
    process.terminate()
    process.wait(20)
    return lambda name: upstream_records(written / f"{name}.json")


@pytest.mark.peer
@pytest.mark.parametrize(("name", "text", "operators", "file", "keys"), CASES)
async def test_the_records_are_upstreams(
    name: str,
    text: Any,
    operators: list[Any],
    file: str,
    keys: dict[str, Any],
    written: Path,
    upstream: Any,
    lab_of_files: Any,
) -> None:
    expected = upstream(name)
    assert expected
    running = await lab_of_files.run(**settings_of(written / name, keys, operators))
    await until(lambda: running.sink.items >= len(expected), f"{len(expected)} records", 5)
    await running.stop()

    def order(record: Any) -> str:
        return json.dumps(record, sort_keys=True, default=repr)

    ours, theirs = sorted(map(order, our_records(running))), sorted(map(order, expected))
    only_ours, only_theirs = [r for r in ours if r not in theirs], [r for r in theirs if r not in ours]
    assert (only_ours, len(ours)) == (only_theirs, len(theirs))
