"""List and watch without I/O: pages, events cut anywhere, bookmarks, 410, what vanished between two lists."""

import json
from typing import Any

import pytest

from heliograph.kubernetes.errors import BadAnswer
from heliograph.kubernetes.objects import NODES, PODS, Scope
from heliograph.kubernetes.reflector import Applied, Reflector, Removed, Synced
from heliograph.kubernetes.wire import LONGEST_LINE


def pod(uid: str, version: int, **metadata: Any) -> dict[str, Any]:
    return {
        "kind": "Pod",
        "metadata": {"name": f"n-{uid}", "namespace": "ns", "uid": uid, "resourceVersion": str(version)}
        | {"managedFields": [{"a": 1}], "labels": None}
        | metadata,
        "spec": {"nodeName": "node", "containers": [{"name": "c", "image": "i:1", "env": []}], "volumes": [{}]},
        "status": {"podIP": "10.0.0.1", "podIPs": []},
    }


def page(version: int, *items: dict[str, Any], more: str = "") -> bytes:
    return json.dumps({"metadata": {"resourceVersion": str(version), "continue": more}, "items": items}).encode()


def event(kind: str, found: dict[str, Any]) -> bytes:
    return json.dumps({"type": kind, "object": found}).encode() + b"\n"


def told(changes: Any) -> list[str]:
    names = []
    for change in changes:
        if isinstance(change, Applied):
            names.append(f"+{change.object.metadata.uid}")
        else:
            names.append(f"-{change.uid}" if isinstance(change, Removed) else "synced")
    return names


STREAM = b"".join(
    [
        event("ADDED", pod("b", 11)),
        event("MODIFIED", pod("a", 12)),
        event("BOOKMARK", {"kind": "Pod", "metadata": {"resourceVersion": "20"}, "spec": {}, "status": {}}),
        b"\n",
        event("DELETED", pod("a", 21)),
        event("ADDED", pod("ü", 22)),
    ]
)


def listed() -> Reflector:
    reflector = Reflector(PODS, Scope())
    assert told(reflector.page(page(10, pod("a", 5)))) == ["+a", "synced"]
    return reflector


@pytest.mark.parametrize("size", [1, 2, 7, 100, 1000, len(STREAM)])
def test_events_are_the_same_however_they_are_cut(size: int) -> None:
    reflector = listed()
    changes = [name for at in range(0, len(STREAM), size) for name in told(reflector.feed(STREAM[at : at + size]))]
    assert changes == ["+b", "+a", "-a", "+ü"]
    assert reflector.request().query["resourceVersion"] == "22"


def test_only_the_fields_in_use_are_kept() -> None:
    reflector = listed()
    (change,) = reflector.feed(event("ADDED", pod("b", 11)))
    assert isinstance(change, Applied)
    found: Any = change.object
    assert (found.metadata.labels, found.spec.node_name, found.status.pod_ip) == (None, "node", "10.0.0.1")
    assert found.spec.containers[0].image == "i:1"
    assert not hasattr(found.metadata, "managed_fields")
    assert not hasattr(found.spec, "volumes")


def test_pages_are_asked_for_until_the_last_and_then_a_watch_follows() -> None:
    reflector = Reflector(PODS, Scope(namespace="x/y", labels="a=b"))
    first = reflector.request()
    assert first.path == "/api/v1/namespaces/x%2Fy/pods"
    assert dict(first.query) == {"labelSelector": "a=b", "limit": "500"}
    assert told(reflector.page(page(10, pod("a", 1), more="next"))) == ["+a"]
    assert reflector.request().query["continue"] == "next"
    assert told(reflector.page(page(10, pod("b", 2)))) == ["+b", "synced"]
    watch = reflector.request()
    assert watch.watch
    assert watch.query["resourceVersion"] == "10"
    assert watch.query["allowWatchBookmarks"] == "true"


def test_the_first_list_by_a_field_comes_from_the_servers_cache_and_later_ones_do_not() -> None:
    reflector = Reflector(PODS, Scope(fields="spec.nodeName=n"))
    assert reflector.request().query["resourceVersion"] == "0"
    told(reflector.page(page(10)))
    assert reflector.refused(410)
    assert "resourceVersion" not in reflector.request().query


def test_metadata_alone_is_asked_for_where_it_is_enough() -> None:
    reflector = Reflector(NODES, Scope(namespace="ignored"))
    assert reflector.request().path == "/api/v1/nodes"
    assert "as=PartialObjectMetadataList" in reflector.request().accept
    told(reflector.page(page(1)))
    assert "as=PartialObjectMetadata;" in reflector.request().accept


@pytest.mark.parametrize("how", ["event", "status"])
def test_gone_lists_again_and_tells_what_vanished(how: str) -> None:
    reflector = listed()
    told(reflector.feed(event("ADDED", pod("b", 11))))
    if how == "event":
        gone = {"kind": "Status", "code": 410, "reason": "Expired"}
        assert told(reflector.feed(event("ERROR", gone) + event("ADDED", pod("z", 99)))) == []
    else:
        assert reflector.refused(410)
    assert not reflector.request().watch
    assert told(reflector.page(page(30, pod("c", 25), more="m"))) == ["+c"]
    assert told(reflector.page(page(30, pod("b", 11)))) == ["+b", "-a", "synced"]
    assert reflector.request().query["resourceVersion"] == "30"


def test_gone_in_the_middle_of_a_list_begins_again_and_forgets_its_half() -> None:
    reflector = listed()
    reflector.restart()
    told(reflector.page(page(30, pod("c", 25), more="m")))
    assert reflector.refused(410)
    assert told(reflector.page(page(40))) == ["-a", "synced"]


def test_an_object_cut_by_the_end_of_a_stream_is_thrown_away_and_comes_again() -> None:
    reflector = listed()
    whole = event("ADDED", pod("b", 11))
    assert told(reflector.feed(whole[:50])) == []
    reflector.ended()
    assert reflector.request().query["resourceVersion"] == "10"
    assert told(reflector.feed(whole)) == ["+b"]


@pytest.mark.parametrize(
    "data",
    [
        b"no json\n",
        b'{"type": "ADDED"}\n',
        b'{"type": "ADDED", "object": {"metadata": 5}}\n',
        event("ERROR", {"code": 500, "message": "etcd"}),
        b'{"type": "ADDED", "object": ' + b"[" * 100_000 + b"\n",
    ],
)
def test_what_the_api_does_not_promise_is_an_error_and_everything_is_listed_again(data: bytes) -> None:
    reflector = listed()
    with pytest.raises(BadAnswer):
        told(reflector.feed(data))
    assert not reflector.request().watch


def test_an_event_without_an_end_does_not_grow_for_ever() -> None:
    reflector = listed()
    for _ in range(LONGEST_LINE // 1_000_000):
        told(reflector.feed(b"x" * 1_000_000))
    with pytest.raises(BadAnswer, match="longer than"):
        told(reflector.feed(b"x" * 1_000_000))


@pytest.mark.parametrize("body", [b"", b"{}", b'{"metadata": {}, "items": [1]}', b"[" * 100_000])
def test_a_list_that_is_none_is_an_error(body: bytes) -> None:
    with pytest.raises(BadAnswer):
        told(Reflector(PODS, Scope()).page(body))


def test_kinds_of_change_are_told_apart() -> None:
    assert [type(change) for change in Reflector(PODS, Scope()).page(page(1))] == [Synced]
