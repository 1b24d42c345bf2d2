"""Expansion: the table of observed upstream behaviour."""

from pathlib import Path
from typing import Any

import pytest

from heliograph.component.config import Node, Origin
from heliograph.config.expand import Expansion
from heliograph.config.tree import parse


def expand(text: str, **environ: str) -> tuple[Node, Expansion]:
    """The node behind `v:` after expansion, and the expansion with what it noted."""
    expansion = Expansion(environ)
    root = expansion.expand(parse(f"v: {text}", Origin("f.yaml")))
    assert isinstance(root.value, dict)
    return root.value["v"], expansion


@pytest.mark.parametrize(
    ("found", "value"),
    [
        ("true", True),
        ("True", True),
        ("yes", "yes"),
        ("0123", 83),
        ("089", 89.0),
        ("0x1F", 31),
        ("0o17", 15),
        ("1_000_000", 1000000),
        ("1.50", 1.5),
        ("1e3", 1000.0),
        ("null", None),
        ("~", None),
        ("", None),
        ("[a,b]", ["a", "b"]),
        ("{a: 1}", {"a": 1}),
        ("a: b", {"a": "b"}),
        ("- x", ["x"]),
        ('"true"', '"true"'),
        ("a # b", "a # b"),
        ("[a", "[a"),
        ("*abc", "*abc"),
        ("@x", "@x"),
        ("2024-01-01", "2024-01-01T00:00:00Z"),
    ],
)
def test_a_whole_reference_takes_the_yaml_meaning_and_keeps_the_text(found: str, value: Any) -> None:
    """Untyped fields see the value, text fields what was written, with or without quotes in the file."""
    for text in ('"${env:X}"', "${env:X}", "${X}"):
        node, expansion = expand(text, X=found)
        assert (node.plain(), expansion.problems) == (value, [])
        assert (node.text if node.text is not None else node.value) == found
        assert str(node.origin) == "f.yaml:1:1 (environment X)"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("x-${env:X}-y", "x-1-y"),
        ("1${env:X}", "11"),
        ("$X", "$X"),
        ("$$", "$"),
        ("$$$", "$$"),
        ("$${env:X}", "${env:X}"),
        ("$$${env:X}", "$1"),
        ("$$$${env:X}", "$${env:X}"),
        ("$ and ${env:X and ${X}", "$ and ${env:X and 1"),
        ("a}b${env:X}", "a}b1"),
        ("${env:UNSET:-d}", "d"),
        ("${env:UNSET:-7}", 7),
        ("${env:UNSET:-a:b:-c}", "a:b:-c"),
        ("${env:UNSET:-${env:X}}", 1),
        ("${env:EMPTY:-d}", None),
        ("<${env:EMPTY:-d}${env:UNSET}>", "<>"),
        ("${env:${env:Q}}", 1),
        ("${env:T}", 1),
        ("${env:E}", "${env:X}"),
        ("${yaml:[1, 2]}", [1, 2]),
        ("$${env:X} ${env:X}", "${env:X} 1"),
    ],
)
def test_text_around_defaults_nesting_and_escapes(text: str, value: Any) -> None:
    """References in text, defaults, references in references, and $$."""
    environ = {"X": "1", "EMPTY": "", "Q": "X", "T": "${env:X}", "E": "$${env:X}"}
    node, expansion = expand(f"'{text}'", **environ)
    assert (node.plain(), expansion.problems) == (value, [])


def test_a_list_that_was_found_is_expanded_inside() -> None:
    """References in what was found are replaced too, and text fields get the replaced text."""
    node, _ = expand("${env:L}", L="[a, '${env:X}', {b: '${env:X}'}]", X="5")
    assert node.plain() == ["a", 5, {"b": 5}]
    assert node.text == "[a, '5', {b: '5'}]"


def test_a_file_can_be_inserted(tmp_path: Path) -> None:
    """${file:...} puts the content of a YAML file there."""
    (tmp_path / "part.yaml").write_text("a: {b: ${env:X}}\n".replace("${env:X}", "'${env:X}'"))
    node, _ = expand(f"${{file:{tmp_path / 'part.yaml'}}}", X="2")
    assert node.plain() == {"a": {"b": 2}}


def test_an_unset_variable_is_null_with_a_warning() -> None:
    """There is no error, and the place is told."""
    node, expansion = expand("${env:NOPE}")
    assert (node.value, node.text, expansion.problems) == (None, "", [])
    assert expansion.warnings == ["f.yaml:1:1: v: environment variable NOPE is not set"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("${bogus:x}", 'scheme "bogus" is not supported'),
        ("${FOO:-x}", "write ${env:FOO:-x}"),
        ("${env:a-b}", '"a-b" is no name of an environment variable'),
        ("${env:}", '"" is no name of an environment variable'),
        ("${env:$X}", "has a $ in it"),
        ("${file:/nonexistent/file}", "cannot be read: No such file or directory"),
    ],
)
def test_wrong_references_are_noted_with_their_place(text: str, message: str) -> None:
    """The other values are expanded all the same."""
    expansion = Expansion({"X": "1"})
    root = expansion.expand(parse(f"a:\n  b: '{text}'\n  c: ${{X}}\n", Origin("f.yaml")))
    assert root.plain() == {"a": {"b": None, "c": 1}}
    assert len(expansion.problems) == 1
    assert str(expansion.problems[0]).startswith("f.yaml:2:3: a::b: ")
    assert message in str(expansion.problems[0])


@pytest.mark.parametrize("found", ["${env:X}", "x${env:X}", "${env:X}${env:X}x", "[x, '${env:X}']", "['${X}', '${X}']"])
def test_a_value_that_refers_to_itself_is_refused(found: str) -> None:
    """No loop, no growth without bound."""
    _, expansion = expand("${env:X}", X=found)
    assert "does a value refer to itself?" in str(expansion.problems[0])
