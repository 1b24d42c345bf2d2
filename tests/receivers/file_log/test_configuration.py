"""Configuration and the small languages in it: expressions, fields, regular expressions, file patterns."""

# ruff: noqa: E501

from pathlib import Path
from typing import Any

import pytest

from heliograph.component.errors import ConfigError
from heliograph.config.decode import from_plain
from heliograph.receivers.file_log.config import FileLogConfig
from heliograph.receivers.file_log.finder import Finder
from heliograph.receivers.file_log.operators.entry import Entry, Field, FieldError
from heliograph.receivers.file_log.operators.expression import ExpressionError, compile_expression
from heliograph.receivers.file_log.operators.regex import RegexError, compile_text
from heliograph.receivers.file_log.template import Template

ENTRY = Entry({"x": 5, "s": "abc", "list": ["a", "b"], "m": {"k": None}}, 1)
ENTRY.attributes = {"a": "v", "dot.ted": True, "n": 2.5}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 + 2 * 3 ** 2", 19.0),
        ("(1 + 2) * 3", 9),
        ("7 / 2", 3.5),
        ("-7 % 3", -1),
        ("body.x > 4 and body.s != 'q'", True),
        ("body.x == 5.0", True),
        ("1 == true", False),
        ('attributes["dot.ted"] ? "yes" : "no"', "yes"),
        ("attributes.nosuch ?? 'default'", "default"),
        ("body.nosuch?.deeper == nil", True),
        ("not (body.s in ['q', 'abc'])", False),
        ("body.s not in ['q']", True),
        ("'k' in body.m", True),
        ('body.s matches "^a.c$"', True),
        ("body.s contains 'b' && body.s startsWith 'a' || false", True),
        ("body.list[1] + body.s[1:]", "bbc"),
        ("len(body.list) + len('\u00e9\\n')", 4),
        ("type(body) + type(nil) + type(1.0) + type([])", "mapnilfloatarray"),
        ("upper(trim('  x ')) + string(3) + string(true)", "X3true"),
        ("split('a,b', ',')", ["a", "b"]),
        ("{'a': 1, b: [2]}", {"a": 1, "b": [2]}),
        ("int('12') + int(2.9)", 14),
        ("!true || !false", True),
    ],
)
def test_expressions(text: str, value: Any) -> None:
    assert compile_expression(text)(ENTRY) == value


@pytest.mark.parametrize(
    ("text", "column"),
    [("body ==", 8), ("nosuch == 1", 1), ("exec('x')", 1), ("body.__class__()", 6), ("1 # 2", 3), ("'open", 1), ("body matches body", 14), ("any([1], {# > 0})", 11), ("1 .. 2", 4), ("(" * 60, 51)],
)  # fmt: skip
def test_what_is_not_in_the_language_is_refused_with_its_column(text: str, column: int) -> None:
    with pytest.raises(ExpressionError, match=f"column {column} "):
        compile_expression(text)


@pytest.mark.parametrize(
    "text", ["attributes.a > 1", "body.x.y", "body.s + 1", "1 / 0", "body.list[9]", "len(5)", "not body.x"]
)
def test_mistakes_at_run_time_are_expression_errors(text: str) -> None:
    with pytest.raises(ExpressionError):
        compile_expression(text)(ENTRY)


def test_templates() -> None:
    assert Template("a-EXPR(attributes.a)-EXPR(upper('b'))c").render(ENTRY) == "a-v-Bc"
    assert Template("no EXPR(").constant


@pytest.mark.parametrize("text", ["", "attributes.", "a.b", "body[x]", 'body["x"', ".body", "body..x"])
def test_fields_that_cannot_be_read(text: str) -> None:
    with pytest.raises(FieldError):
        Field.parse(text)


def test_regular_expressions_of_go() -> None:
    assert compile_text(r"(?<name>[[:alpha:]]+)\z").search("ab\n") is None
    assert compile_text(r"a(?i)b").fullmatch("aB")
    assert compile_text(r"\Qa.b\E$").search("a.b")
    for bad in (r"(?=x)", r"a\1", r"(?U)a+", "[a", "(", r"\Z"):
        with pytest.raises(RegexError):
            compile_text(bad)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({}, "include"),
        ({"include": ["x"], "start_at": "middle"}, "start_at"),
        ({"include": ["x"], "header": {}}, "header"),
        ({"include": ["x"], "operators": [{"type": "syslog_parser"}]}, "syslog_parser"),
        ({"include": ["x"], "operators": [{"type": "noop", "output": "gone"}]}, "gone"),
        ({"include": ["x"], "operators": [{"type": "noop", "id": "a", "output": "b"}, {"type": "noop", "id": "b", "output": "a"}]}, "lead back"),
        ({"include": ["x"], "operators": [{"type": "container", "formt": "docker"}]}, "formt"),
        ({"include": ["x"], "operators": [{"type": "json_parser", "timestamp": {"parse_from": "body", "layout": "%Q"}}]}, "%Q"),
        ({"include": ["x"], "encoding": "klingon"}, "klingon"),
        ({"include": ["x"], "delete_after_read": True}, "start_at: end"),
    ],
)  # fmt: skip
def test_mistakes_are_named(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        from_plain(FileLogConfig, keys)


def test_patterns_of_files(tmp_path: Path) -> None:
    for name in ("a/x.log", "a/b/y.log", "a/b/c/z.log", "a/b/c/z.txt", "d1/x.log", "d2/x.log", "d2/skip.log"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")

    def found(*include: str, exclude: tuple[str, ...] = ()) -> set[str]:
        keys = {
            "include": [f"{tmp_path}/{name}" for name in include],
            "exclude": [f"{tmp_path}/{name}" for name in exclude],
        }
        finder = Finder(from_plain(FileLogConfig, keys))
        first = finder.find()
        assert finder.find() == first
        return {str(Path(path).relative_to(tmp_path)) for path in first}

    assert found("a/*.log") == {"a/x.log"}
    assert found("a/**/*.log") == {"a/x.log", "a/b/y.log", "a/b/c/z.log"}
    assert found("d[12]/x.log", "d?/x.log") == {"d1/x.log", "d2/x.log"}
    assert found("{d1,d2}/*.{log,txt}", exclude=("**/skip.*",)) == {"d1/x.log", "d2/x.log"}
    assert found("a/b/c/z.*") == {"a/b/c/z.log", "a/b/c/z.txt"}
    assert found("nosuch/*") == set()
