"""Reading YAML: the meaning of scalars, places, duplicate keys, aliases, bounds."""

import math

import pytest

from heliograph.component.config import Node, Origin
from heliograph.config.problem import InvalidConfig
from heliograph.config.tree import parse, scalar


def read(text: str) -> Node:
    return parse(text, Origin("f.yaml"))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"),
        ("on", "on"),
        ("True", True),
        ("FALSE", False),
        ("0123", 83),
        ("089", 89.0),
        ("0x1F", 31),
        ("0X1f", 31),
        ("-0x1f", -31),
        ("0o17", 15),
        ("0b11", 3),
        ("00", 0),
        ("+5", 5),
        ("1_000_000", 1000000),
        ("1.50", 1.5),
        (".5", 0.5),
        ("1.", 1.0),
        ("1e3", 1000.0),
        ("1e400", "1e400"),
        ("1:30", "1:30"),
        ("0x", "0x"),
        ("-", "-"),
        ("99999999999999999999", 1e20),
        ("~", None),
        ("Null", None),
        ("nUll", "nUll"),
        ("-.inf", -math.inf),
        ("1.2.3.4", "1.2.3.4"),
        ("localhost:4317", "localhost:4317"),
        ("2024-01-01", "2024-01-01T00:00:00Z"),
        ("2024-1-1 10:00:00", "2024-01-01T10:00:00Z"),
        ("2024-01-01T10:00:00.50+02:00", "2024-01-01T10:00:00.5+02:00"),
    ],
)
def test_plain_scalars_mean_what_they_mean_upstream(text: str, value: object) -> None:
    """Each plain scalar has the value and the type that go-yaml v3 gives it."""
    found, _ = scalar(text)
    assert found == value
    assert type(found) is type(value)


def test_quotes_and_tags_decide_the_type() -> None:
    """Quoted text stays text, an explicit tag wins."""
    assert read("{a: '1', b: !!str 2, c: !!float 3, d: \"true\"}").plain() == {
        "a": "1",
        "b": "2",
        "c": 3.0,
        "d": "true",
    }


def test_each_value_knows_its_line_column_and_path() -> None:
    """A value in a map has the place of its key, an item of a list its own."""
    root = read("a:\n  b:\n    - x\n    -   y\n")
    assert isinstance(root.value, dict)
    inner = root.value["a"].value
    assert isinstance(inner, dict)
    assert str(inner["b"].origin) == "f.yaml:2:3"
    items = inner["b"].value
    assert isinstance(items, list)
    assert (str(items[1].origin), items[1].path) == ("f.yaml:4:9", ("a", "b", "1"))


def test_a_duplicate_key_is_refused_with_both_lines() -> None:
    """The message stands at the second one and names the line of the first."""
    with pytest.raises(InvalidConfig) as caught:
        read("a:\n  b: 1\n  c: 2\n  b: 3\nd: 1\nd: 2\n")
    assert str(caught.value).splitlines() == [
        "f.yaml:4:3: a::b: this key is there twice; it is there since line 2: keep one of them",
        "f.yaml:6:1: d: this key is there twice; it is there since line 5: keep one of them",
    ]


def test_anchors_aliases_and_merge_keys() -> None:
    """An alias repeats a value; << fills in what is not written."""
    root = read("x: &x {a: 1, b: 2}\ny: {<<: *x, b: 3}\nz: *x\n")
    assert root.plain() == {"x": {"a": 1, "b": 2}, "y": {"b": 3, "a": 1}, "z": {"a": 1, "b": 2}}
    assert isinstance(root.value, dict)
    moved = root.value["z"].value
    assert isinstance(moved, dict)
    assert moved["a"].path == ("z", "a")


def test_aliases_of_aliases_cannot_fill_the_memory() -> None:
    """The billion laughs are refused."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    with pytest.raises(InvalidConfig, match="more than 200000 values"):
        read("\n".join(lines))


@pytest.mark.parametrize("text", ["[" * 150 + "]" * 150, "- " * 20000 + "x", "{a: " * 5000])
def test_deep_nesting_is_refused(text: str) -> None:
    """No depth ends the interpreter."""
    with pytest.raises(InvalidConfig, match=r"nested deeper|not valid YAML"):
        read(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1, 2\nb: 3\n", "f.yaml:2:"),
        ("a:\n\tb: 1\n", "f.yaml:2:1: not valid YAML: while scanning for the next token found character that cannot "),
        ("a: {b: ${env:X}}\n", 'put "${...}" in quotes inside { }'),
        ("a: *nope\n", "*nope refers to nothing"),
        ("? [a]\n: 1\n", "a key must be plain text"),
        ("a: 1\n---\nb: 2\n", "f.yaml:2:1: a second document begins here"),
        ("a: \x01\n", "not valid YAML"),
    ],
)
def test_bad_yaml_names_the_place_and_what_to_do(text: str, message: str) -> None:
    """Each mistake of syntax has a line and a hint."""
    with pytest.raises(InvalidConfig) as caught:
        read(text)
    assert message in str(caught.value)
