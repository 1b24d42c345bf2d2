"""Changes and Versions: without a network, cut wherever a stream can be cut."""

import json
from typing import Any

import pytest

from heliograph.component.batch import DELIVERED, STORED, Fate, Outcome
from heliograph.kubernetes.changes import Changes, Pages, collection
from heliograph.kubernetes.errors import BadAnswer, rule
from heliograph.kubernetes.follow import Versions


def thing(name: str, version: int, **more: Any) -> dict[str, Any]:
    return {"kind": "Event", "apiVersion": "v1", "metadata": {"name": name, "resourceVersion": str(version)}, **more}


def line(kind: str, found: dict[str, Any]) -> bytes:
    return json.dumps({"type": kind, "object": found}).encode() + b"\n"


def page(version: int, *items: dict[str, Any], more: str = "") -> bytes:
    metadata = {"resourceVersion": str(version), "continue": more}
    return json.dumps({"kind": "EventList", "apiVersion": "v1", "metadata": metadata, "items": items}).encode()


STREAM = (
    line("ADDED", thing("a", 11))
    + b"\n"
    + line("BOOKMARK", thing("", 12))
    + line("MODIFIED", thing("ä", 13, note="ü\n"))
    + line("DELETED", thing("a", 14))
)


def watching(**more: Any) -> Changes:
    return Changes("/api/v1/events", "events", version="10", **more)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, len(STREAM)])
def test_a_stream_cut_anywhere_tells_the_same(size: int) -> None:
    """In order, with the version moving on; bookmarks move it too and are not told."""
    changes = watching()
    told = [one for at in range(0, len(STREAM), size) for one in changes.feed(STREAM[at : at + size])]
    assert [(one.type, one.name, one.version) for one in told] == [
        ("ADDED", "a", "11"), ("MODIFIED", "ä", "13"), ("DELETED", "a", "14"),
    ]  # fmt: skip
    assert json.loads(told[1].object)["note"] == "ü\n"
    assert changes.request().query["resourceVersion"] == "14"


def test_every_cut_resumes_without_gap_or_double() -> None:
    """A server that goes on after the version that is asked for: whatever was read before the cut, each change is told
    once."""
    whole = [line("ADDED", thing(str(number), number)) for number in range(11, 15)]
    for cut in range(sum(map(len, whole))):
        changes = watching()
        told = changes.feed(b"".join(whole)[:cut])
        changes.ended()
        after = int(changes.request().query["resourceVersion"])
        told += changes.feed(b"".join(whole[after - 10 :]))
        assert [one.version for one in told] == ["11", "12", "13", "14"]


def test_without_a_version_one_object_is_listed_for_it() -> None:
    """And nothing of the list is told."""
    changes = Changes("/api/v1/events", "events", fields="a=b", labels="c")
    request = changes.request()
    assert (request.watch, request.query) == (False, {"limit": "1", "fieldSelector": "a=b", "labelSelector": "c"})
    assert changes.page(page(40, thing("a", 3), more="go on")) == []
    query = changes.request().query
    assert (query["resourceVersion"], query["watch"], query["fieldSelector"]) == ("40", "1", "a=b")


def test_the_initial_state_is_told_page_by_page() -> None:
    """As ADDED, with kind and apiVersion of the list where the objects have none; then it is watched from there."""
    changes = Changes("/api/v1/events", "events", initial=True)
    assert changes.request().query == {"limit": "500"}
    bare = {"metadata": {"name": "a", "namespace": "n", "resourceVersion": "3"}}
    (first,) = changes.page(page(40, bare, more="x"))
    assert (first.type, first.namespace) == ("ADDED", "n")
    assert json.loads(first.object) == {"kind": "Event", "apiVersion": "v1", **bare}
    assert changes.version == ""
    assert changes.request().query == {"limit": "500", "continue": "x"}
    assert [one.name for one in changes.page(page(40, thing("b", 4)))] == ["b"]
    assert changes.version == "40"


def test_a_list_that_expires_between_its_pages_tells_nothing_twice() -> None:
    """It begins again (410); what was told of it is left out."""
    changes = Changes("/api/v1/events", "events", initial=True)
    changes.page(page(40, thing("a", 3), more="x"))
    assert changes.refused(410)
    assert changes.request().query == {"limit": "500"}
    assert [one.name for one in changes.page(page(50, thing("a", 3), thing("b", 45)))] == ["b"]


@pytest.mark.parametrize("as_event", [True, False])
def test_gone_tells_what_is_newer(as_event: bool) -> None:
    """After 410, as an event or a status: what exists and is newer than the last version, each once."""
    changes = watching(sure=True)
    changes.feed(line("ADDED", thing("a", 11)))
    if as_event:
        status = {"kind": "Status", "code": 410, "reason": "Expired"}
        assert changes.feed(line("ERROR", status) + line("ADDED", thing("z", 99))) == []
    else:
        assert changes.refused(410)
    assert not changes.watching
    told = changes.page(page(60, thing("a", 11), thing("b", 12), thing("c", 9), thing("odd", 0)))
    assert [one.name for one in told] == ["b"]
    assert changes.version == "60"


def test_a_version_that_a_user_wrote_and_nobody_has_begins_now() -> None:
    """As upstream: nothing is told of what exists."""
    changes = watching()
    assert changes.refused(410)
    assert changes.request().query == {"limit": "1"}
    assert changes.page(page(60, thing("b", 12))) == []


def test_a_checkpoint_and_the_initial_state_tell_what_is_newer() -> None:
    """Objects that were told before the restart are not told again."""
    changes = Changes("/p", "pods", version="10", sure=True, initial=True)
    assert not changes.watching
    assert [one.name for one in changes.page(page(20, thing("a", 10), thing("b", 11)))] == ["b"]


@pytest.mark.parametrize(
    "bad", [b"{nope\n", b'{"type":"ADDED"}\n', b'{"type":"ADDED","object":[]}\n', b"[" * 9999 + b"\n"]
)
def test_what_cannot_be_read_ends_the_stream_there(bad: bytes) -> None:
    """What came before it is told; the version stays before it."""
    changes = watching()
    assert [
        one.version for one in changes.feed(line("ADDED", thing("a", 11)) + bad + line("ADDED", thing("b", 12)))
    ] == ["11"]
    assert isinstance(changes.broken, BadAnswer)
    assert changes.version == "11"
    changes.ended()
    assert changes.broken is None


def test_another_error_of_the_server_keeps_the_version() -> None:
    """500 as an event: tried again from the same version."""
    changes = watching()
    changes.feed(line("ERROR", {"code": 500, "message": "etcd"}))
    assert changes.broken is not None
    assert changes.broken.status == 500
    assert changes.version == "10"


def test_an_endless_event_is_refused() -> None:
    """More than 16 MiB without an end."""
    changes = watching()
    for _ in range(17):
        changes.feed(b"x" * 1024 * 1024)
    assert changes.broken is not None


@pytest.mark.parametrize("body", [b"", b"[]", b'{"metadata":{},"items":[1]}', b'{"items":[]}', b"{" * 99999])
def test_a_list_that_is_none_is_a_bad_answer(body: bytes) -> None:
    """And no crash."""
    with pytest.raises(BadAnswer):
        Pages().read(body, "pods")


def test_paths_and_rules() -> None:
    """Of the core and of groups."""
    assert collection("", "v1", "pods") == "/api/v1/pods"
    assert collection("apps", "v1", "deployments", "a") == "/apis/apps/v1/namespaces/a/deployments"
    assert rule("apps", "deployments", "a", ["list"]) == (
        'add to a Role in the namespace \'a\': apiGroups: ["apps"], resources: ["deployments"], verbs: ["list"]'
    )


class Values(dict[str, bytes]):
    """A KeyValue in memory."""

    def set(self, key: str, value: bytes) -> None:
        self[key] = value

    def delete(self, key: str) -> None:
        self.pop(key, None)

    def close(self) -> None:
        """Nothing to close."""


def test_a_checkpoint_moves_in_order() -> None:
    """Past what is safe and no further; not past what a shutdown dropped; at once after the end."""
    values = Values()
    versions = Versions(values)  # type: ignore[arg-type]
    assert versions.begin("k") == ""
    first, second, third = (versions.sent("k", version) for version in ("1", "2", "3"))
    versions.seen("k", "4")
    second(DELIVERED)
    versions.save()
    assert values == {}
    first(Outcome(Fate.DROPPED, "refused"))
    versions.save()
    assert values == {"k": b"2"}
    versions.end()
    third(STORED)
    assert values == {"k": b"4"}
    versions.sent("k", "5")(Outcome(Fate.DROPPED, "shutdown"))
    versions.seen("k", "6")
    assert values == {"k": b"4"}


def test_what_an_earlier_run_sent_moves_nothing() -> None:
    """After a new beginning at the kept version, older completions count no more."""
    values = Values()
    versions = Versions(values)  # type: ignore[arg-type]
    versions.begin("k")
    old = versions.sent("k", "1")
    versions.begin("k")
    versions.sent("k", "2")(DELIVERED)
    old(DELIVERED)
    assert versions.begin("k") == "2"
