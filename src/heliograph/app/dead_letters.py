"""`heliograph dead-letters list | show | redrive`: documents that Elasticsearch rejected, as a person looks at them.

Files are found by the configuration (`--config`, the one that the collector runs with) or by folder (`--directory`,
else ./dead-letters). `redrive` needs the configuration: address, credentials and TLS are the exporter's. It may run
while the collector does.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import orjson

from heliograph import catalog
from heliograph.app.supervision import ComponentHost, HealthBoard
from heliograph.component.clock import SystemClock
from heliograph.component.errors import ConfigError, HeliographError
from heliograph.component.ids import ComponentId, Kind, Signal
from heliograph.component.lifecycle import Component
from heliograph.config.load import load
from heliograph.config.model import Loaded
from heliograph.exporters.elasticsearch.client import Client
from heliograph.exporters.elasticsearch.config import ElasticsearchConfig
from heliograph.exporters.elasticsearch.dead_letters import file_name, owner
from heliograph.exporters.elasticsearch.letters import Letter, waiting
from heliograph.exporters.elasticsearch.redrive import Redrive, Stopped, Told
from heliograph.extensions.file_storage.config import FileStorageConfig
from heliograph.extensions.file_storage.extension import file_name as storage_name
from heliograph.pipeline.build import Surroundings, build_extension

_SUFFIX = ".ndjson"


@dataclass(frozen=True, slots=True)
class Place:
    """A file, and the exporter that writes it; None where only a folder was named."""

    path: Path
    exporter: ComponentId | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to do, and where the letters are."""
    what = parser.add_subparsers(dest="what", required=True, metavar="list|show|redrive")
    listing = what.add_parser("list", help="how many there are, by file, reason and index")
    showing = what.add_parser("show", help="one document with its reason")
    showing.add_argument("number", type=int, metavar="N", help="the N-th of those that list counts, from 1")
    sending = what.add_parser("redrive", help="send them again; what fails stays, with its new reason")
    sending.add_argument("--index", default="", help="only those for this index or data stream")
    for each in (listing, showing, sending):
        each.add_argument("--config", action="append", default=[], metavar="SOURCE", help="as for `run`")
        each.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as for `run`")
        each.add_argument("--exporter", default="", metavar="ID", help="only those of this exporter")
    for each in (listing, showing):
        each.add_argument("--directory", type=Path, action="append", default=[], help="folder with the files")


def main(arguments: argparse.Namespace) -> int:
    """Run the command; returns the exit code. Raises HeliographError."""
    try:
        if arguments.what == "redrive":
            return asyncio.run(_redrive(arguments))
        places = list(_places(arguments))
        if arguments.what == "list":
            return _list(places)
        return _show(places, arguments.number)
    except OSError as error:
        raise HeliographError(f"{error.filename or 'a file'}: {error.strerror or error}") from error


def _places(arguments: argparse.Namespace) -> Iterator[Place]:
    if arguments.config:
        yield from _configured(load(arguments.config, arguments.set, os.environ), arguments.exporter)
    folders: list[Path] = arguments.directory or ([] if arguments.config else [Path("dead-letters")])
    for folder in folders:
        if arguments.directory and not folder.is_dir():
            raise ConfigError(f"--directory {folder}: there is no such folder")
        names = {path.name.partition(_SUFFIX)[0] + _SUFFIX for path in folder.glob(f"*{_SUFFIX}*")}
        for name in sorted(names):
            yield Place(folder / name, None)


def _configured(loaded: Loaded, wanted: str) -> Iterator[Place]:
    """The files of all elasticsearch exporters of a configuration."""
    for (kind, id), configured in loaded.components.items():
        config = configured.config
        if kind is not Kind.EXPORTER or not isinstance(config, ElasticsearchConfig):
            continue
        if not config.dead_letters.enabled or (wanted and str(id) != wanted):
            continue
        for signal in Signal:
            yield Place(_folder(loaded, id, signal, config) / file_name(id, signal), id)


def _folder(loaded: Loaded, id: ComponentId, signal: Signal, config: ElasticsearchConfig) -> Path:
    if config.dead_letters.directory:
        return Path(config.dead_letters.directory)
    storage = config.sending_queue.storage
    if storage is not None and config.sending_queue.enabled:
        found = loaded.components.get((Kind.EXTENSION, storage))
        if found is not None and isinstance(found.config, FileStorageConfig):
            return Path(found.config.directory) / f"{storage_name(owner(id, signal))}.d"
    return Path("dead-letters")


def _list(places: list[Place]) -> int:
    """Counted by file, reason and index, with the ages of the first and the last."""
    rows = [("COUNT", "REASON", "INDEX", "OLDEST", "NEWEST", "FILE")]
    now = datetime.now(UTC)
    total = 0
    for place in places:
        groups: dict[tuple[str, str], tuple[int, datetime | None, datetime | None]] = {}
        for letter in waiting(place.path):
            count, oldest, newest = groups.get((letter.reason, letter.index), (0, None, None))
            when = letter.when
            if when is not None:
                oldest = when if oldest is None else min(oldest, when)
                newest = when if newest is None else max(newest, when)
            groups[letter.reason, letter.index] = count + 1, oldest, newest
            total += 1
        for (reason, index), (count, oldest, newest) in sorted(groups.items(), key=lambda item: -item[1][0]):
            rows.append((str(count), reason, index or "-", _age(oldest, now), _age(newest, now), str(place.path)))
    if total:
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        for row in rows:
            print("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
    print(f"{total} dead letter{'' if total == 1 else 's'}")
    return 0


def _age(when: datetime | None, now: datetime) -> str:
    if when is None:
        return "-"
    seconds = max(0, int((now - when).total_seconds()))
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _show(places: list[Place], number: int) -> int:
    seen = 0
    for place in places:
        for letter in waiting(place.path):
            seen += 1
            if seen == number:
                print(_told(letter))
                return 0
    raise HeliographError(f"there is no dead letter {number}: there are {seen}")


def _told(letter: Letter) -> str:
    error = letter.head.get("error")
    reason = error.get("reason", "") if isinstance(error, dict) else ""
    lines = [
        f"file:     {letter.path}",
        f"when:     {letter.head.get('@timestamp', '')}",
        f"exporter: {letter.head.get('exporter', '')}",
        f"index:    {letter.index}",
        f"reason:   {letter.reason}",
        f"          {reason}",
    ]
    if not letter.action:
        return "\n".join((*lines, letter.raw[:2000].decode("utf-8", "replace")))
    pretty = orjson.dumps(orjson.loads(letter.document), option=orjson.OPT_INDENT_2).decode()
    return "\n".join((*lines, f"action:   {letter.action.decode('utf-8', 'replace')}", pretty))


async def _redrive(arguments: argparse.Namespace) -> int:
    if not arguments.config:
        raise ConfigError("redrive needs --config: the configuration that the collector runs with")
    loaded = load(arguments.config, arguments.set, os.environ)
    places = [place for place in _configured(loaded, arguments.exporter) if place.exporter is not None]
    if not places:
        raise ConfigError("the configuration has no such elasticsearch exporter with dead letters")
    told = Told()
    problems: list[str] = []
    for place in places:
        try:
            await _send(loaded, place, arguments.index, told)
        except Stopped as error:
            problems.append(str(error))
    kept = sum(told.kept.values())
    print(f"{told.sent} sent, {told.duplicates} were there already, {kept} stay")
    for reason, count in told.kept.most_common():
        print(f"  {count} {reason}")
    for problem in problems:
        print(f"Error: {problem}", file=sys.stderr)
    return 1 if problems else 0


async def _send(loaded: Loaded, place: Place, index: str, told: Told) -> None:
    if next(waiting(place.path), None) is None:
        return
    assert place.exporter is not None
    config = loaded.components[Kind.EXPORTER, place.exporter].config
    assert isinstance(config, ElasticsearchConfig)
    around = Surroundings(SystemClock())
    telemetry = around.telemetry(Kind.EXPORTER, place.exporter, "elasticsearch")
    extensions: dict[ComponentId, Component] = {}
    hosts: list[ComponentHost] = []

    def host(kind: Kind, id: ComponentId) -> ComponentHost:
        hosts.append(
            ComponentHost(
                kind, id, "", clock=around.clock, board=HealthBoard(), extensions=extensions, log=telemetry.log
            )
        )
        return hosts[-1]

    client = Client(config)
    try:
        for id in _authenticators(loaded, config):
            factory = catalog.factory(Kind.EXTENSION, id.type)
            extension = build_extension(id, loaded.components[Kind.EXTENSION, id].config, factory, around)
            await extension.start(host(Kind.EXTENSION, id))
            extensions[id] = extension
        await client.open(host(Kind.EXPORTER, place.exporter), telemetry.log)
        redrive = Redrive(
            place.path,
            str(place.exporter),
            client,
            around.clock,
            limit=config.max_bulk_bytes,
            again=config.retry.retry_on_status,
        )
        await redrive.run(told, lambda letter: not index or letter.index == index)
    finally:
        await client.close()
        for extension in reversed(extensions.values()):
            await extension.shutdown(around.clock.monotonic() + 1)
        for one in hosts:
            await one.end()


def _authenticators(loaded: Loaded, config: ElasticsearchConfig) -> list[ComponentId]:
    """The extension that adds credentials, behind those that it builds on."""
    found: list[ComponentId] = []
    id = None if config.auth is None else config.auth.authenticator
    while id is not None and id not in found:
        found.append(id)
        configured = loaded.components.get((Kind.EXTENSION, id))
        id = getattr(configured.config, "additional_auth", None) if configured is not None else None
    return [id for id in reversed(found) if (Kind.EXTENSION, id) in loaded.components]
