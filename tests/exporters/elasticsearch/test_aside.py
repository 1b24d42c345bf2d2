"""Documents of an index that takes none wait on disk, for as long as it lasts, and what goes elsewhere flows on."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from tests.exporters.elasticsearch.conftest import RunningExporter, Start
from tests.exporters.elasticsearch.test_sender import FAST, bodies, some_logs

from heliograph.component.auth import ClientAuth
from heliograph.component.batch import Fate
from heliograph.component.errors import Denied, Overloaded
from heliograph.component.lifecycle import Status
from heliograph.testing.bulk_server import Answer, BulkServer, ItemAnswer
from heliograph.testing.clock import ManualClock
from heliograph.testing.wait import until

BLOCKED = "logs-blocked.otel-default"


def blocking(status: int = 403, error: str = "cluster_block_exception") -> Answer:
    """An answer that refuses what is for the dataset `blocked`, and takes the rest."""

    def decide(action: dict[str, Any], _: dict[str, Any]) -> ItemAnswer:
        return (status, error) if action["_index"] == BLOCKED else (201, "")

    return Answer(item=decide)


def mixed(*names: str) -> list[bytes]:
    """Logs for the blocked data stream and, with names in capitals, for another."""
    return [part for name in names for part in some_logs(name, dataset="open" if name.isupper() else "blocked")]


def troubles(exporter: RunningExporter) -> list[str]:
    """What health said was wrong."""
    return [message for health, message in exporter.host.reports if health is Status.RECOVERABLE_ERROR]


@pytest.mark.parametrize(
    ("status", "error", "says"),
    [
        (403, "cluster_block_exception", "index.blocks"),
        (429, "cluster_block_exception", "full"),
        (403, "security_exception", "create_doc"),
        (400, "index_closed_exception", "open it"),
        (503, "unavailable_shards_exception", "red"),
        (503, "no_shard_available_action_exception", "red"),
    ],
    ids=["write block", "full disk", "right on one index", "closed", "red", "no shard"],
)
async def test_an_index_that_takes_nothing_is_waited_for(
    start: Start, server: BulkServer, status: int, error: str, says: str
) -> None:
    """Blocked, full, forbidden, closed, red: the batch is over at once, its documents arrive when the index takes them
    again; health names the index, the cause and what to do until then, and is never well in between."""
    exporter = await start("logs", retry=FAST)
    server.always = blocking(status, error)
    for number in range(5):
        await exporter.send(mixed(f"b{number}", f"A{number}"))
    assert bodies(server.stored) == [f"A{number}" for number in range(5)]
    assert [outcome.fate for outcome in exporter.outcomes] == [Fate.STORED] * 5
    assert (exporter.account.sent, exporter.account.waiting, exporter.account.difference) == (5, 5, 0)
    assert exporter.host.status is Status.RECOVERABLE_ERROR
    (trouble,) = troubles(exporter)
    assert all(text in trouble for text in (BLOCKED, str(status), error, says))
    server.always = Answer()
    await until(lambda: exporter.account.sent == 10)
    assert sorted(bodies(server.stored)) == sorted(f"{kind}{number}" for kind in "Ab" for number in range(5))
    assert exporter.host.status is Status.OK
    assert (exporter.account.dead_lettered, exporter.account.waiting, exporter.account.difference) == (0, 0, 0)


async def test_a_blocked_index_is_asked_seldom(start: Start, server: BulkServer) -> None:
    """In an hour of traffic it gets its oldest documents every half minute, and nothing else."""
    clock = ManualClock()
    exporter = await start("logs", clock=clock)
    server.always = blocking()
    for number in range(360):
        await exporter.send(mixed(f"b{number}", f"A{number}"))
        await clock.advance(10)
        await until(lambda: clock.sleeping > 0)
    asked = [names for request in server.requests if "A" not in "".join(names := bodies(request.documents))]
    assert all(names == ["b0"] for names in asked)
    assert 3600 / 30 / 1.3 < len(asked) < 3600 / 30 * 1.5
    assert exporter.account.waiting == 360
    assert exporter.metric("heliograph_elasticsearch_set_aside_documents") == 360
    assert exporter.metric("heliograph_elasticsearch_set_aside_bytes") > 0
    server.always = Answer()
    await clock.advance(60)
    await until(lambda: exporter.account.sent == 720)
    assert exporter.metric("heliograph_elasticsearch_set_aside_bytes") == 0


async def test_what_is_set_aside_survives_the_process(start: Start, server: BulkServer) -> None:
    """The next process finds it, counts it as restored and sends it when the index takes it."""
    server.always = blocking()
    first = await start("logs", retry=FAST)
    await first.send(mixed("b", "A", "c"))
    await first.exporter.shutdown(0)
    assert (first.account.sent, first.account.waiting, first.account.difference) == (1, 2, 0)
    second = await start("logs", retry=FAST)
    assert (second.account.restored, second.account.waiting) == (2, 2)
    await until(lambda: second.host.status is Status.RECOVERABLE_ERROR)
    await second.send(mixed("d", "D"))
    server.always = Answer()
    await until(lambda: second.account.sent == 4)
    assert sorted(bodies(server.stored)) == ["A", "D", "b", "c", "d"]
    assert (second.account.waiting, second.account.difference) == (0, 0)
    assert second.host.status is Status.OK


async def test_what_finds_no_room_becomes_dead_letters_while_others_flow(
    start: Start, server: BulkServer, tmp_path: Path
) -> None:
    """The files stay below their limit; further documents are dead letters, and nothing is held up."""
    exporter = await start("logs", retry=FAST, blocked_index={"max_size": 4000})
    server.always = blocking()
    for number in range(30):
        await exporter.send(mixed(f"b{number}", f"A{number}"))
    folder = tmp_path / "dead" / "elasticsearch_es_logs.set-aside"
    assert 0 < sum(path.stat().st_size for path in folder.glob("*.log")) <= 4000
    account = exporter.account
    assert account.sent == 30
    assert account.waiting + account.dead_lettered == 30
    assert account.dead_lettered > 0
    assert account.difference == 0
    assert "no more room" in troubles(exporter)[-1]
    letters = (tmp_path / "dead" / "elasticsearch_es_logs.ndjson").read_bytes().splitlines()
    assert {orjson.loads(line)["error"]["type"] for line in letters} == {"cluster_block_exception"}
    server.always = Answer()
    await until(lambda: account.waiting == 0)
    assert account.difference == 0


async def test_without_room_and_others_the_queue_holds_it(start: Start, server: BulkServer) -> None:
    """A full disk blocks every index: what finds no room waits in its batch, and nothing becomes a dead letter."""
    queue = {"batch": None, "num_consumers": 2, "queue_size": 5, "block_on_overflow": False}
    exporter = await start("logs", retry=FAST, blocked_index={"max_size": 1500}, sending_queue=queue)
    server.always = Answer(item=lambda *_: (429, "cluster_block_exception"))
    settings, sent = exporter.settings.telemetry, 0
    labels = {"exporter": str(exporter.settings.id), "data_type": "logs"}
    for number in range(100):
        try:
            await exporter.send(some_logs(f"b{number}"))
        except Overloaded:  # the queue is full: the sender keeps it
            exporter.account.received -= 1
            break
        sent += 1
        await until(lambda: len(server.requests) > 0)
        await until(lambda: settings.metrics.value("otelcol_exporter_in_flight_requests", labels) in (0, 2))
    assert 5 < sent < 100
    assert (exporter.account.dead_lettered, exporter.account.waiting, exporter.account.difference) == (0, sent, 0)
    assert "full" in exporter.host.reports[-1][1]
    server.always = Answer()
    await until(lambda: exporter.account.sent == sent)
    assert sorted(bodies(server.stored)) == sorted(f"b{number}" for number in range(sent))
    await until(lambda: exporter.host.status is Status.OK)


@pytest.mark.parametrize("way", ["off", "no place", "unwritable"])
async def test_where_nothing_can_be_set_aside_the_batch_waits(
    start: Start, server: BulkServer, tmp_path: Path, way: str
) -> None:
    """max_size 0, no folder, or one that cannot be made: the documents wait with their batch and are sent."""
    keys: dict[str, Any] = {}
    if way == "off":
        keys["blocked_index"] = {"max_size": 0}
    elif way == "no place":
        keys["dead_letters"] = {"enabled": False}
    exporter = await start("logs", retry=FAST, **keys)
    if way == "unwritable":
        (tmp_path / "dead").rmdir()
        (tmp_path / "dead").write_text("a file")
    server.answers.extend([blocking()] * 4)
    await exporter.send(mixed("b", "A"))
    assert sorted(bodies(server.stored)) == ["A", "b"]
    assert (exporter.account.sent, exporter.account.difference) == (2, 0)
    assert BLOCKED in troubles(exporter)[0]


async def test_giving_up_when_told_to_applies_to_blocked_indices(start: Start, server: BulkServer) -> None:
    """retry::max_retries says how long documents wait: then they are dead letters."""
    exporter = await start("logs", retry={"max_retries": 2, **FAST})
    server.always = blocking()
    await exporter.send(mixed("b", "A"))
    assert len(server.requests) == 3
    assert (exporter.account.sent, exporter.account.dead_lettered, exporter.account.difference) == (1, 1, 0)


def _answers(*kinds: str) -> Callable[[dict[str, Any], dict[str, Any]], ItemAnswer]:
    fates = {"ok": (201, ""), "wrong": (400, "document_parsing_exception"), "busy": (429, "too_many")}

    def decide(_: dict[str, Any], source: dict[str, Any]) -> ItemAnswer:
        return fates[kinds[int(source["body"]["text"][1:])]]

    return decide


async def test_documents_set_aside_have_their_own_fates(start: Start, server: BulkServer) -> None:
    """One is taken, one is wrong, one is refused once more: indexed, dead letter, indexed later; no one twice."""
    exporter = await start("logs", retry=FAST)
    server.answers.append(blocking())
    server.answers.append(Answer(item=_answers("ok", "wrong", "busy")))
    await exporter.send(mixed("b0", "b1", "b2"))
    await until(lambda: exporter.account.waiting == 0)
    assert bodies(server.stored) == ["b0", "b2"]
    assert (exporter.account.sent, exporter.account.dead_lettered, exporter.account.difference) == (2, 1, 0)
    assert exporter.host.status is Status.OK


@pytest.mark.parametrize("status", [413, 500, 401])
async def test_a_request_of_documents_set_aside_may_fail(start: Start, server: BulkServer, status: int) -> None:
    """They stay and are sent again, in smaller requests where they are too large; health says why meanwhile."""
    exporter = await start("logs", retry=FAST)
    server.answers.extend([blocking(), Answer(status=status), Answer(status=status)])
    await exporter.send(mixed("b0", "b1", "b2", "b3"))
    await until(lambda: exporter.account.waiting == 0)
    assert sorted(bodies(server.stored)) == ["b0", "b1", "b2", "b3"]
    assert (exporter.account.sent, exporter.account.dead_lettered, exporter.account.difference) == (4, 0, 0)
    assert exporter.host.status is Status.OK


class Locked(ClientAuth):
    """Credentials that cannot be had for a while."""

    failures = 0

    async def headers(self, context: object) -> dict[str, str]:
        """None, or an error."""
        if self.failures:
            self.failures -= 1
            raise Denied("no token", "the token")
        return {}


async def test_documents_set_aside_wait_for_credentials_too(start: Start, server: BulkServer) -> None:
    """An auth extension that fails is said in health, and their sending goes on when it works again."""
    locked = Locked()
    exporter = await start("logs", retry=FAST, auth={"authenticator": "mine"}, extensions={"mine": locked})
    server.always = blocking()
    await exporter.send(mixed("b"))
    locked.failures = 2
    await until(lambda: any("no token" in message for message in troubles(exporter)))
    server.always = Answer()
    await until(lambda: exporter.account.sent == 1)
    assert exporter.host.crashes == []
    assert exporter.host.status is Status.OK


async def test_an_attempt_under_way_ends_before_the_process(start: Start, server: BulkServer) -> None:
    """At the end of the process the answer to what was set aside is waited for, so that nothing is sent twice."""
    exporter = await start("logs", retry=FAST)
    server.answers.append(blocking())
    server.gate = asyncio.Event()
    server.gate.set()
    await exporter.send(mixed("b"))
    server.gate.clear()
    await server.wait_for(lambda server: len(server.stored) == 1)
    ending = asyncio.ensure_future(exporter.exporter.shutdown(0))
    await asyncio.sleep(0)
    server.gate.set()
    await ending
    assert (exporter.account.sent, exporter.account.waiting, exporter.account.difference) == (1, 0, 0)


async def test_refusals_of_two_batches_do_not_flicker(start: Start, server: BulkServer) -> None:
    """While one batch waits because some of it was refused, others that are delivered do not make the exporter well."""
    clock = ManualClock()
    queue = {"batch": None, "num_consumers": 2}
    exporter = await start("logs", clock=clock, sending_queue=queue)
    server.always = Answer(item=lambda _, source: (500, "busy") if source["body"]["text"] == "b" else (201, ""))
    await exporter.send(some_logs("b"))
    await until(lambda: clock.sleeping == 1)
    for name in "ACDE":
        await exporter.send(some_logs(name))
    await until(lambda: exporter.account.sent == 4)
    assert [health for health, _ in exporter.host.reports[1:]] == [Status.RECOVERABLE_ERROR]
    server.always = Answer()
    await clock.advance(60)
    await until(lambda: exporter.account.sent == 5)
    assert exporter.host.status is Status.OK
