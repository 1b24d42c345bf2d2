"""basicauth and bearertokenauth: who is let in, what is sent, and files that change."""

import base64
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from heliograph import catalog
from heliograph.component.auth import ClientAuth, ServerAuth, Unauthenticated
from heliograph.component.batch import NO_CONTEXT
from heliograph.component.errors import ConfigError, StartError
from heliograph.component.ids import Kind
from heliograph.config.decode import from_plain
from heliograph.testing.clock import ManualClock
from heliograph.testing.host import TestHost
from heliograph.testing.settings import settings


async def started(type_: str, keys: dict[str, Any], clock: ManualClock | None = None) -> Any:
    """An extension, started."""
    factory = catalog.factory(Kind.EXTENSION, type_)
    extension: Any = factory.create(settings("extension", type_), from_plain(factory.config, keys))
    await extension.start(TestHost(clock=clock or ManualClock()))
    return extension


def basic(user: str, password: str) -> dict[str, tuple[str, ...]]:
    """Headers with credentials."""
    return {"authorization": ("Basic " + base64.b64encode(f"{user}:{password}".encode()).decode(),)}


@pytest.mark.parametrize(
    "stored",
    [
        "secret",
        "$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ/",
        "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
        bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode(),
    ],
    ids=["plain", "apr1", "sha", "bcrypt"],
)
async def test_basicauth_lets_in_who_has_the_password(stored: str) -> None:
    """Every format of htpasswd; twice, since what was right is remembered."""
    server = await started("basicauth", {"htpasswd": {"inline": f"# users\nada:{stored}\n"}})
    assert isinstance(server, ServerAuth)
    for _ in range(2):
        assert await server.authenticate(basic("ada", "secret"), "/") == {"username": "ada"}
        for headers in (basic("ada", "Secret"), basic("bob", "secret"), {}, {"authorization": ("Basic !",)},
                        {"authorization": ("Bearer x",)}, {"authorization": ("Basic \udcff",)}):  # fmt: skip
            with pytest.raises(Unauthenticated):
                await server.authenticate(headers, "/")


async def test_basicauth_sends_user_and_password_and_reads_changed_files(tmp_path: Path) -> None:
    """client_auth, from values and from files."""
    client = await started("basicauth", {"client_auth": {"username": "ada", "password": "secret"}})
    assert isinstance(client, ClientAuth)
    assert await client.headers(NO_CONTEXT) == {"authorization": basic("ada", "secret")["authorization"][0]}
    file, clock = tmp_path / "password", ManualClock()
    file.write_text("one\n")
    client = await started("basicauth", {"client_auth": {"username": "ada", "password_file": str(file)}}, clock)
    assert await client.headers(NO_CONTEXT) == {"authorization": basic("ada", "one")["authorization"][0]}
    file.write_text("another\n")
    await clock.advance(1.1)
    assert await client.headers(NO_CONTEXT) == {"authorization": basic("ada", "another")["authorization"][0]}
    file.unlink()
    await clock.advance(1.1)
    assert await client.headers(NO_CONTEXT) == {"authorization": basic("ada", "another")["authorization"][0]}


async def test_bearertokenauth_works_both_ways_and_reads_changed_files(tmp_path: Path) -> None:
    """Any token of the file is accepted, the first is sent."""
    file, clock = tmp_path / "tokens", ManualClock()
    file.write_text("one\n\ntwo\n")
    both = await started("bearertokenauth", {"filename": str(file), "header": "X-Key", "scheme": "ApiKey"}, clock)
    assert await both.headers(NO_CONTEXT) == {"x-key": "ApiKey one"}
    for token in ("one", "two"):
        assert await both.authenticate({"x-key": (f"ApiKey {token}",)}, "/") == {}
    for headers in ({}, {"x-key": ("ApiKey ",)}, {"x-key": ("one",)}, {"x-key": ("ApiKey \udcff",)}):
        with pytest.raises(Unauthenticated):
            await both.authenticate(headers, "/")
    file.write_text("three\n")
    await clock.advance(1.1)
    assert await both.headers(NO_CONTEXT) == {"x-key": "ApiKey three"}
    with pytest.raises(Unauthenticated):
        await both.authenticate({"x-key": ("ApiKey one",)}, "/")


@pytest.mark.parametrize(
    ("type_", "keys", "problem"),
    [
        ("basicauth", {}, "no credential source"),
        ("basicauth", {"htpasswd": {"inline": "a:b"}, "client_auth": {"username": "a"}}, "only one of"),
        ("basicauth", {"client_auth": {"username": "a:b"}}, "colon"),
        ("bearertokenauth", {}, "no bearer token provided"),
    ],
)
def test_mistakes_in_the_configuration_are_named(type_: str, keys: dict[str, Any], problem: str) -> None:
    """Each by its key."""
    with pytest.raises(ConfigError, match=problem):
        from_plain(catalog.factory(Kind.EXTENSION, type_).config, keys)


@pytest.mark.parametrize(
    ("type_", "keys", "problem"),
    [
        ("basicauth", {"htpasswd": {"file": "/nowhere"}}, "htpasswd::file /nowhere cannot be read: No such file"),
        ("basicauth", {"htpasswd": {"inline": "nobody"}}, "line 1 is not user:password"),
        ("basicauth", {"htpasswd": {"inline": "a:$6$x$y"}}, "user 'a' in line 1 has a crypt"),
        ("basicauth", {"htpasswd": {"inline": "a:$2y$10$short"}}, "user 'a' in line 1 has a broken bcrypt"),
        ("basicauth", {"htpasswd": {"inline": "a:{SSHA}é"}}, "user 'a' in line 1 has a broken {SSHA}"),
        ("bearertokenauth", {"filename": "/nowhere"}, "filename /nowhere cannot be read"),
    ],
)
async def test_unusable_credentials_end_the_start(type_: str, keys: dict[str, Any], problem: str) -> None:
    """With the key and the file, without the secret."""
    with pytest.raises(StartError, match=problem):
        await started(type_, keys)
