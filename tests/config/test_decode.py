"""Typed decoding: every type, every rule, all mistakes at once."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Literal

import pytest

from heliograph.component.config import ByteSize, Decoder, Duration, Node, Origin, Secret, key
from heliograph.component.errors import ConfigError
from heliograph.component.ids import ComponentId
from heliograph.config.decode import Decoding, decode, from_plain
from heliograph.config.expand import Expansion
from heliograph.config.tree import parse


class Colour(StrEnum):
    """An enumeration."""

    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    """A nested class."""

    size: int = key(1, "A size.")
    limit: int = key(10, "A limit.")
    UNSUPPORTED = {"buffer": "remove this key"}

    def check(self) -> Iterator[tuple[str, str]]:
        """size is within limit."""
        if self.size > self.limit:
            yield "size", f"must not be greater than limit ({self.limit})"


class Shape(str):
    """A type that reads itself."""

    @classmethod
    def decode(cls, node: Node, decoder: Decoder) -> "Shape | None":
        """Round things only."""
        text = decoder.decode(str, node)
        if text is not None and text != "round":
            decoder.problem(node, "not round", "write round")
            return None
        return None if text is None else cls(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    """One of each type."""

    flag: bool = key(False, "A flag.")
    count: int = key(3, "A count.", aliases=("number",))
    share: float = key(0.5, "A share.")
    name: str = key("x", "A name.")
    wait: Duration = key(Duration(5), "A time.")
    room: ByteSize = key(ByteSize(1024), "A size.")
    password: Secret = key(Secret(""), "A secret.")
    storage: ComponentId | None = key(None, "An extension.")
    mode: Literal["fast", "slow"] = key("fast", "A mode.")
    colour: Colour = key(Colour.RED, "A colour.")
    names: list[str] = key(list, "Names.")
    labels: dict[str, str] = key(dict, "Labels.")
    anything: Any = key(None, "Anything.")
    either: int | str | list[int] = key(0, "Some of these.")
    shape: Shape = key(Shape("round"), "A shape.")
    inner: Inner = key(lambda: Inner(size=2, limit=20), "Nested, with defaults of its own.")
    maybe: Inner | None = key(None, "Nested or absent.")
    several: list[Inner] = key(list, "Nested in a list.")
    from_: str = key("", "A key that is no Python name.", name="from")
    old: int = key(0, "An old key.", deprecated="old does nothing: remove it")


@dataclass(frozen=True, slots=True, kw_only=True)
class Needy:
    """A required key."""

    endpoint: str = key(..., "Where to.")


def problems(target: type[Any], text: str, **environ: str) -> list[str]:
    """The mistakes in a YAML text."""
    node = Expansion(environ).expand(parse(text, Origin("f.yaml")))
    _, found = decode(target, node)
    return [str(problem) for problem in found]


def value(text: str, **environ: str) -> Outer:
    """The typed value of a YAML text without mistakes."""
    made, found = decode(Outer, Expansion(environ).expand(parse(text, Origin("f.yaml"))))
    assert found == []
    assert made is not None
    return made


@pytest.mark.parametrize(
    ("text", "field", "expected"),
    [
        ("flag: true", "flag", True),
        ("count: 0123", "count", 83),
        ("count: 2.9", "count", 2),
        ("number: 4", "count", 4),
        ("share: 1", "share", 1.0),
        ("name: yes", "name", "yes"),
        ("wait: 1h2m3.5s", "wait", 3723.5),
        ("wait: -200ms", "wait", -0.2),
        ("wait: 5", "wait", 5e-9),
        ("wait: '0'", "wait", 0.0),
        ("wait: 3us", "wait", 3e-6),
        ("wait: .5h", "wait", 1800.0),
        ("room: 10MiB", "room", 10 * 1024 * 1024),
        ("room: 1.5kb", "room", 1500),
        ("room: '7'", "room", 7),
        ("storage: file_storage/x", "storage", ComponentId("file_storage", "x")),
        ("storage: null", "storage", None),
        ("mode: slow", "mode", "slow"),
        ("colour: blue", "colour", Colour.BLUE),
        ("names: [a, b]", "names", ["a", "b"]),
        ("names: null", "names", []),
        ("count: null", "count", 3),
        ("labels: {a: b}", "labels", {"a": "b"}),
        ("anything: {a: [1, b]}", "anything", {"a": [1, "b"]}),
        ("either: 4", "either", 4),
        ("either: x", "either", "x"),
        ("either: [1, 2]", "either", [1, 2]),
        ("shape: round", "shape", "round"),
        ("inner: {size: 5}", "inner", Inner(size=5, limit=20)),
        ("inner: null", "inner", Inner(size=2, limit=20)),
        ("maybe: {}", "maybe", Inner()),
        ("maybe: null", "maybe", None),
        ("several: [{size: 2}, null]", "several", [Inner(size=2), Inner()]),
        ("from: here", "from_", "here"),
    ],
)
def test_each_type_reads_what_it_should(text: str, field: str, expected: object) -> None:
    """Values, null, defaults of a nested class, aliases."""
    assert getattr(value(text), field) == expected


@pytest.mark.parametrize("found", ["0123", "1_000_000", "true", "null", "~", "", "[a, b]", "2024-01-01", '"q"'])
def test_a_text_field_gets_what_the_variable_held(found: str) -> None:
    """Whatever YAML would make of it."""
    assert value("name: ${env:X}", X=found).name == found


def test_an_unset_variable_gives_the_default_except_to_text() -> None:
    """As upstream: null resets, text is empty."""
    made = value("{count: '${env:N}', name: '${env:N}', inner: '${env:N}', maybe: '${env:N}', wait: '${N}'}")
    assert (made.count, made.name, made.inner, made.maybe, made.wait) == (3, "", Inner(size=2, limit=20), None, 5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("flag: 'true'", 'flag: expected true or false, found the text "true"; write it without quotes'),
        ("flag: yes", 'flag: expected true or false, found the text "yes"'),
        ("count: '12'", 'count: expected an integer, found the text "12"; write it without quotes'),
        ("count: true", "count: expected an integer, found true"),
        ("name: 5", 'name: expected text, found the number 5; put it in quotes: "5"'),
        ("name: {a: 1}", "name: expected text, found a map"),
        (
            "wait: 5 seconds",
            'wait: "5 seconds" is not a duration; write it like 30s, 200ms or 1h30m (units: h m s ms us ns)',
        ),
        ("wait: '5'", 'wait: "5" is not a duration; write the unit too, for example 5s or 5ms'),
        ("wait: 10000000h", 'wait: "10000000h" is not a duration; at most about 292 years (2562047h) are possible'),
        (
            "room: 10 megs",
            'room: "10 megs" is not a size; write bytes as a number, or with a unit: 512, 16KiB, 10MiB, 1GB',
        ),
        ("storage: 5", "storage: expected an id such as type or type/name, found the number 5"),
        ("mode: fats", 'mode: "fats" is not allowed; did you mean "fast"? (one of fast, slow)'),
        ("colour: green", 'colour: "green" is not allowed; one of red, blue'),
        ("names: a", 'names: expected a list, found the text "a"; write ["a"]'),
        ("labels: [a]", "labels: expected a map, found a list; write one `key: value` per line"),
        ("labels: {a: 1}", 'labels::a: expected text, found the number 1; put it in quotes: "1"'),
        ("shape: square", "shape: not round; write round"),
        ("inner: 5", "inner: expected a map, found the number 5; its keys are size, limit, ..."),
        ("inner: {siez: 5}", 'inner::siez: unknown key; did you mean "size"?'),
        ("inner: {buffer: 5}", "inner::buffer: this key is known upstream but not supported here; remove this key"),
        ("inner: {size: 50}", "inner::size: must not be greater than limit (20) (it is 50)"),
        ("several: [{size: 50}]", "several::0::size: must not be greater than limit (10) (it is 50)"),
        ("passwrod: hunter2", 'passwrod: unknown key; did you mean "password"?'),
        ("{count: 1, number: 2}", "number: the same as count, which is there too; remove number"),
    ],
)
def test_each_mistake_says_what_is_wrong_and_what_to_write(text: str, message: str) -> None:
    """One line with place, path, value and fix."""
    found = problems(Outer, text)
    assert len(found) == 1
    place, _, rest = found[0].partition(": ")
    assert place.startswith("f.yaml:1:")
    assert rest == message


def test_a_secret_is_never_shown() -> None:
    """Not in a message about its type, not in the repr."""
    found = problems(Outer, "password: 12345")
    assert found == [
        "f.yaml:1:1: password: expected text, found something else (not shown: it is a secret); put it in quotes"
    ]
    made = value("password: hunter2")
    assert f"{made.password:s}" == "hunter2"
    assert "hunter2" not in repr(made)


def test_all_mistakes_are_found_at_once() -> None:
    """One does not hide another."""
    assert len(problems(Outer, "{flag: 1, count: x, wait: y, nope: 1, inner: {size: z, buffer: 1}, names: 5}")) == 7


def test_a_required_key_is_asked_for_with_its_meaning() -> None:
    """Absent and null are the same."""
    assert problems(Needy, "{}") == ["f.yaml:1:1: endpoint: missing: this key is required; add endpoint: Where to."]
    assert problems(Needy, "endpoint: null") == [
        "f.yaml:1:1: endpoint: missing: this key is required, and it is null here"
    ]


def test_what_is_allowed_but_hardly_meant_is_a_warning() -> None:
    """Bare nanoseconds, a cut fraction, an old name, an old key."""
    decoding = Decoding()
    decoding.decode(Outer, parse("{wait: 5, number: 2.9, old: 1}", Origin("f.yaml")))
    assert decoding.problems == []
    assert sorted(decoding.warnings) == [
        "f.yaml:1:11: number: 2.9 is cut to 2: an integer is meant here",
        "f.yaml:1:11: number: deprecated name: write count",
        "f.yaml:1:24: old: old does nothing: remove it",
        "f.yaml:1:2: wait: 5 without a unit means nanoseconds; write 5s for seconds",
    ]


def test_from_plain_makes_a_configuration_or_tells_all_mistakes() -> None:
    """What the tests of components use."""
    assert from_plain(Outer, {"inner": {"size": 3}}).inner == Inner(size=3, limit=20)
    assert from_plain(Outer, None) == Outer()
    with pytest.raises(ConfigError, match=r"(?s)count.*flag"):
        from_plain(Outer, {"flag": 1, "count": "x"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Switched:
    """A part that may be switched off, with a key that must be there."""

    size: int = key(doc="A size.")
    OPTIONAL: ClassVar[bool] = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Parts that may be switched off, and one that may not."""

    off: Switched | None = key(None, "A part.")
    on: Switched | None = key(None, "A part.")
    plain: Inner | None = key(None, "No such part.")


def test_a_part_that_is_not_enabled_is_not_there() -> None:
    """`enabled` is taken by optional parts only; what stands beside `enabled: false` does not count."""
    made = from_plain(Parts, {"off": {"enabled": False, "size": 3}, "on": {"enabled": True, "size": 4}})
    assert made == Parts(on=Switched(size=4))
    for wrong, message in (({"plain": {"enabled": False}}, "unknown key"), ({"on": {"enabled": 1}}, "true or false")):
        with pytest.raises(ConfigError, match=message):
            from_plain(Parts, wrong)
