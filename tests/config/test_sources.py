"""Sources: files, variables, YAML on the command line, HTTP."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from heliograph.config.problem import InvalidConfig
from heliograph.config.sources import MAX_BYTES, setting, source


@pytest.fixture
def web() -> Iterator[str]:
    """The address of a web server that has one configuration at /ok."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/ok" else 404)
            self.end_headers()
            self.wfile.write(b"a: {b: 1}" if self.path == "/ok" else b"")

        def log_message(self, format: str, *args: object) -> None:
            """Nothing is logged."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_every_scheme_gives_the_same_tree(tmp_path: Path, web: str) -> None:
    """A path, file:, env:, yaml:, http:."""
    path = tmp_path / "c.yaml"
    path.write_text("a: {b: 1}")
    for uri in (str(path), f"file:{path}", "env:CONFIG", "yaml:a::b: 1", "yaml:a: {b: 1}", f"{web}/ok"):
        assert source(uri, {"CONFIG": "a: {b: 1}"}).plain() == {"a": {"b": 1}}, uri


def test_an_empty_file_is_an_empty_configuration(tmp_path: Path) -> None:
    """So that a later one can fill it."""
    (tmp_path / "c.yaml").write_text("# nothing\n")
    assert source(str(tmp_path / "c.yaml"), {}).plain() == {}


def test_what_cannot_be_read_says_why(tmp_path: Path, web: str) -> None:
    """Missing, a folder, no text, too large, no map, an unknown scheme, an unset variable, an HTTP error."""
    (tmp_path / "binary").write_bytes(b"a: \xff\xfe")
    (tmp_path / "list").write_text("- a")
    with (tmp_path / "large").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    for uri, message in (
        (str(tmp_path / "none"), "cannot be read: No such file or directory"),
        (str(tmp_path), "cannot be read: Is a directory"),
        (str(tmp_path / "binary"), "is not UTF-8 text: byte 3"),
        (str(tmp_path / "large"), "is larger than 16777216 bytes"),
        (str(tmp_path / "list"), "this is no configuration: a map is expected"),
        ("bogus:x", 'scheme "bogus" is not supported; one of env, file, http, https, yaml'),
        ("env:NOPE", "environment NOPE: this variable is not set"),
        (f"{web}/no", "cannot be fetched: HTTP Error 404"),
    ):
        with pytest.raises(InvalidConfig) as caught:
            source(uri, {})
        assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("a.b.c=v", {"a": {"b": {"c": "v"}}}),
        ("a::b=[x, y/z]", {"a": {"b": ["x", "y/z"]}}),
        ("a.b={}", {"a": {"b": {}}}),
        ("a.b=null", {"a": {"b": None}}),
        ("a = 1 ", {"a": 1}),
        ("a.b=x=y", {"a": {"b": "x=y"}}),
    ],
)
def test_a_setting_is_a_path_and_a_yaml_value(text: str, tree: object) -> None:
    """Dots and :: separate keys, the value is YAML."""
    assert setting(text).plain() == tree
