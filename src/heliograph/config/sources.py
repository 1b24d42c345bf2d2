"""Where configuration comes from: files, environment variables, YAML on the command line, HTTP.

`--config` takes a path or `scheme:value`; `${scheme:value}` in a file takes the same schemes. Source: the confmap
providers of the Collector.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from heliograph.component.config import Node, Origin
from heliograph.config.merge import unfolded
from heliograph.config.problem import InvalidConfig, Problem, without_credentials
from heliograph.config.tree import parse

SCHEMES = ("env", "file", "http", "https", "yaml")
MAX_BYTES = 16 * 1024 * 1024
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):(.*)\Z", re.DOTALL)
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*\Z")
_HTTP_TIMEOUT = 30.0


class SourceError(Exception):
    """A source that cannot be read. `fix`: what to do."""

    def __init__(self, problem: str, fix: str = "") -> None:
        super().__init__(problem)
        self.fix = fix


def split_uri(text: str) -> tuple[str, str] | None:
    """`scheme:value` in two, or None when there is no scheme (a single letter is a drive, not a scheme)."""
    match = _SCHEME.match(text)
    return None if match is None else (match[1], match[2])


def retrieve(scheme: str, value: str, environ: Mapping[str, str]) -> str | None:
    """The text behind `scheme:value`; None for a variable that is not set. Raises SourceError."""
    if scheme == "env":
        return _variable(value, environ)
    if scheme == "file":
        return _file(value)
    if scheme == "yaml":
        return value
    if scheme in ("http", "https"):
        return _http(f"{scheme}:{value}")
    raise SourceError(f'scheme "{scheme}" is not supported', f"one of {', '.join(SCHEMES)}")


def source(uri: str, environ: Mapping[str, str]) -> Node:
    """The tree of one `--config` value. Raises InvalidConfig."""
    scheme, value = split_uri(uri) or ("file", uri)
    origin = _origin(scheme, value)
    try:
        text = retrieve(scheme, value, environ)
    except SourceError as error:
        raise InvalidConfig([Problem(origin, (), str(error), error.fix)]) from None
    if text is None:
        raise InvalidConfig([Problem(origin, (), "this variable is not set", "set it, or give --config=file")])
    return unfolded(_map(parse(text, origin)))


def setting(text: str) -> Node:
    """The tree of one `--set a.b=value` (or `a::b=value`). Raises InvalidConfig."""
    origin = Origin(f"--set {text.partition('=')[0]}")
    path, equals, value = text.partition("=")
    if not equals:
        raise InvalidConfig([Problem(origin, (), "missing equal sign", "write --set path.to.key=value")])
    steps = [step for step in path.strip().replace(".", "::").split("::") if step]
    if not steps:
        raise InvalidConfig([Problem(origin, (), "there is no key before the equal sign")])
    node = parse(value.strip(), origin)
    return unfolded(Node({"::".join(steps): Node(node.value, origin, (), node.text)}, origin))


def _origin(scheme: str, value: str) -> Origin:
    if scheme == "file":
        return Origin(value)
    if scheme == "env":
        return Origin(f"environment {value.partition(':-')[0]}")
    if scheme in ("http", "https"):
        return Origin(without_credentials(f"{scheme}:{value}"))
    return Origin("--config yaml" if scheme == "yaml" else f"{scheme}:{value}")


def _map(root: Node) -> Node:
    if root.value is None:
        return Node({}, root.origin)
    if not isinstance(root.value, dict):
        fix = "it begins with receivers:, processors:, exporters: or service:"
        raise InvalidConfig([Problem(root.origin, (), "this is no configuration: a map is expected", fix)])
    return root


def _variable(value: str, environ: Mapping[str, str]) -> str | None:
    name, has_default, default = value.partition(":-")
    if not _NAME.match(name):
        raise SourceError(f'"{name}" is no name of an environment variable', "letters, digits and _ only")
    found = environ.get(name)
    return default if found is None and has_default else found


def _file(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SourceError(f"cannot be read: {error.strerror or error}", "give the path of a readable file") from None
    return _text(data)


def _http(url: str) -> str:
    import urllib.error  # not small, and seldom needed
    import urllib.request

    try:
        with urllib.request.urlopen(url, timeout=_HTTP_TIMEOUT) as answer:
            data: bytes = answer.read(MAX_BYTES + 1)
    except urllib.error.HTTPError as error:
        error.close()
        raise SourceError(f"cannot be fetched: {error}", "check the address, or give a file") from None
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise SourceError(f"cannot be fetched: {error}", "check the address, or give a file") from None
    return _text(data)


def _text(data: bytes) -> str:
    if len(data) > MAX_BYTES:
        raise SourceError(f"is larger than {MAX_BYTES} bytes", "a configuration is smaller than that")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(f"is not UTF-8 text: byte {error.start}", "save it as UTF-8") from None
