"""URLs, read and written as Go's net/url does."""

import pytest

from heliograph.processors.elasticapm.url import join_host_port, parse


@pytest.mark.parametrize(
    ("text", "written", "host", "port"),
    [
        ("http://h:8080/p?q=1#f", "http://h:8080/p?q=1#f", "h", "8080"),
        ("HTTP://Host/", "http://Host/", "Host", ""),
        ("https://user:pw@h/p", "https://user:pw@h/p", "h", ""),
        ("http://[::1]:80/", "http://[::1]:80/", "::1", "80"),
        ("http://h/a b", "http://h/a%20b", "h", ""),
        ("http://h/a%20b", "http://h/a%20b", "h", ""),
        ("http://h?q=a b", "http://h?q=a b", "h", ""),
        ("//h/p", "//h/p", "h", ""),
        ("/p?q", "/p?q", "", ""),
        ("mailto:a@b", "mailto:a@b", "", ""),
        ("http://h:/", "http://h:/", "h", ""),
        ("", "", "", ""),
    ],
)
def test_read_and_written(text: str, written: str, host: str, port: str) -> None:
    url = parse(text)
    assert url is not None
    assert (url.text(), url.hostname(), url.port()) == (written, host, port)


@pytest.mark.parametrize(
    "text", [":p", "http://h:x/", "http://[::1/", "http://h/%zz", "a:b/c:d\x00", "1:2", "http://a b/"]
)
def test_unreadable(text: str) -> None:
    assert parse(text) is None


def test_an_address_with_colons_goes_into_brackets() -> None:
    assert (join_host_port("::1", 80), join_host_port("h", 80)) == ("[::1]:80", "h:80")
