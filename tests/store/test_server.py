"""The official Elasticsearch client works against the store, and bad requests get Elasticsearch's errors."""

import asyncio
import gzip
import json
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import AsyncElasticsearch, BadRequestError, NotFoundError
from elasticsearch.helpers import async_streaming_bulk

from heliograph.store.documents import Documents, NewDocument
from heliograph.store.server import StoreServer

BASE_MS = 1_700_000_000_000


def log(number: int, **more: Any) -> dict[str, Any]:
    return {
        "@timestamp": f"{BASE_MS + number * 1000}.5",
        "data_stream": {"type": "logs", "dataset": "generic.otel", "namespace": "default"},
        "severity_text": ["INFO", "ERROR"][number % 2],
        "attributes": {"http.method": "GET", "n": number},
        "resource": {"attributes": {"service.name": ["checkout", "cart"][number % 2], "host.name": "h1"}},
        "scope": {},
        "body": {"text": f"Order number {number} placed by user-{number % 5}"},
        **more,
    }


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[tuple[StoreServer, int]]:
    store = StoreServer(Documents(tmp_path / "documents.sqlite"), max_age=10 * 365 * 86400, max_bytes=2**40)
    port = await store.start("127.0.0.1", 0)
    yield store, port
    await store.stop()


@pytest.fixture
async def client(server: tuple[StoreServer, int]) -> AsyncIterator[AsyncElasticsearch]:
    async with AsyncElasticsearch(f"http://127.0.0.1:{server[1]}") as client:
        yield client


async def fill(client: AsyncElasticsearch, count: int = 20) -> None:
    actions = [
        {"_op_type": "create", "_index": "logs-generic.otel-default", "_id": f"id{n}", "_source": log(n)}
        for n in range(count)
    ]
    async for ok, item in async_streaming_bulk(client, actions):
        assert ok, item


async def total(client: AsyncElasticsearch, **search: Any) -> int:
    answer = await client.search(index="logs-*", size=0, track_total_hits=True, **search)
    value: int = answer["hits"]["total"]["value"]
    return value


async def test_info_and_streams(client: AsyncElasticsearch) -> None:
    await fill(client)
    assert (await client.info())["version"]["number"] == "9.2.0"
    streams = (await client.indices.get_data_stream(name="logs-*"))["data_streams"]
    assert [stream["name"] for stream in streams] == ["logs-generic.otel-default"]
    rows = await client.cat.indices(format="json")
    assert rows[0]["docs.count"] == "20"
    assert "logs-generic.otel-default" in str(await client.cat.indices(v=True))


async def test_an_id_exists_once(client: AsyncElasticsearch) -> None:
    await fill(client)
    results = [
        item["create"]["status"]
        async for _, item in async_streaming_bulk(
            client,
            [
                {"_op_type": "create", "_index": "logs-generic.otel-default", "_id": id_, "_source": log(1)}
                for id_ in ("id3", "new", "new")
            ],
            raise_on_error=False,
        )
    ]
    assert results == [409, 201, 409]
    assert await total(client) == 21


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("service.name:checkout", 10),
        ("service.name:check*", 10),
        ("resource.attributes.service.name:cart", 10),
        ("service.name:checkout AND n:4", 1),
        ("service.name:(checkout OR cart)", 20),
        ("NOT service.name:cart", 10),
        ("service.name:cart -n:1", 9),
        ("+service.name:cart +log.level:ERROR", 10),
        ("n:[5 TO 7]", 3),
        ("n:{5 TO 7}", 1),
        ("n:>=18", 2),
        ("n:[18 TO *]", 2),
        ('message:"order number 7"', 1),
        ('message:"number order"', 0),
        ("message:ORDER", 20),
        ("placed", 20),
        ("user-3", 4),
        ("_exists_:http.method", 20),
        ("_exists_:nothing", 0),
        ("attributes.*:GET", 20),
        ("*:*", 20),
        ("_id:id7", 1),
        (f"@timestamp:[{BASE_MS} TO {BASE_MS + 4999}]", 5),
        ("service.name:/che.+/", 10),
        ("nothing\\:here", 0),
    ],
)
async def test_query_strings(client: AsyncElasticsearch, query: str, expected: int) -> None:
    await fill(client)
    assert await total(client, q=query) == expected
    assert (await client.count(index="logs-*", q=query))["count"] == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"match_all": {}}, 20),
        ({"match_none": {}}, 0),
        ({"term": {"service.name": "cart"}}, 10),
        ({"term": {"service.name": {"value": "cart"}}}, 10),
        ({"terms": {"n": [1, 2, 99]}}, 2),
        ({"match": {"message": "number 3"}}, 20),
        ({"match": {"message": {"query": "number 3", "operator": "and"}}}, 4),
        ({"match_phrase": {"body.text": "number 3"}}, 1),
        ({"range": {"n": {"gte": 5, "lt": 7}}}, 2),
        ({"range": {"@timestamp": {"gte": "2023-11-14T22:13:25Z"}}}, 15),
        ({"range": {"@timestamp": {"gte": "now-1h"}}}, 0),
        ({"exists": {"field": "severity_text"}}, 20),
        ({"prefix": {"service.name": "ch"}}, 10),
        ({"wildcard": {"service.name": {"value": "c*t"}}}, 20),
        ({"regexp": {"service.name": "c.rt"}}, 10),
        ({"ids": {"values": ["id1", "id2", "x"]}}, 2),
        ({"bool": {"must": {"term": {"n": 3}}, "must_not": [{"term": {"service.name": "checkout"}}]}}, 1),
        ({"bool": {"should": [{"term": {"n": 3}}, {"term": {"n": 4}}]}}, 2),
        ({"bool": {"filter": [{"term": {"service.name": "cart"}}], "should": [{"term": {"n": 3}}]}}, 10),
        ({"query_string": {"query": "service.name:cart n:3", "default_operator": "and"}}, 1),
    ],
)
async def test_query_dsl(client: AsyncElasticsearch, query: dict[str, Any], expected: int) -> None:
    await fill(client)
    assert await total(client, query=query) == expected


async def test_sorting_and_paging(client: AsyncElasticsearch) -> None:
    await fill(client)

    async def numbers(**search: Any) -> list[int]:
        hits = (await client.search(index="logs-*", **search))["hits"]["hits"]
        return [hit["_source"]["attributes"]["n"] for hit in hits]

    assert await numbers(size=3) == [19, 18, 17]
    assert await numbers(size=3, sort="@timestamp:asc", from_=2) == [2, 3, 4]
    assert await numbers(size=2, sort=[{"service.name": "desc"}, {"n": "asc"}]) == [0, 2]
    assert await numbers(size=2, sort=[{"n": "asc"}], search_after=[4]) == [5, 6]
    assert await numbers(size=2, sort=[{"@timestamp": "asc"}], search_after=[BASE_MS + 4000.5]) == [5, 6]
    hit = (await client.search(index="logs-*", size=1, source=False))["hits"]["hits"][0]
    assert "_source" not in hit


async def test_aggregations(client: AsyncElasticsearch) -> None:
    await fill(client)
    answer = await client.search(
        index="logs-*",
        size=0,
        aggs={
            "by_service": {"terms": {"field": "service.name"}, "aggs": {"most": {"max": {"field": "n"}}}},
            "over_time": {"date_histogram": {"field": "@timestamp", "fixed_interval": "10s"}},
            "kinds": {"cardinality": {"field": "severity_text"}},
            "numbers": {"stats": {"field": "n"}},
        },
    )
    result = answer["aggregations"]
    buckets = {
        bucket["key"]: (bucket["doc_count"], bucket["most"]["value"]) for bucket in result["by_service"]["buckets"]
    }
    assert buckets == {"checkout": (10, 18), "cart": (10, 19)}
    assert [bucket["doc_count"] for bucket in result["over_time"]["buckets"]] == [10, 10]
    assert result["over_time"]["buckets"][0]["key"] == BASE_MS
    assert result["kinds"]["value"] == 2
    assert result["numbers"] == {"count": 20, "min": 0, "max": 19, "avg": 9.5, "sum": 190}


async def test_metric_documents_are_unique_by_series_and_time(client: AsyncElasticsearch) -> None:
    def metric(host: str, value: float, at: int = BASE_MS) -> dict[str, Any]:
        return {
            "@timestamp": at,
            "resource": {"attributes": {"host.name": host}},
            "metrics": {"m": value},
            "_metric_names_hash": "d2",
        }

    actions = [
        {"_op_type": "create", "_index": "metrics-generic.otel-default", "_source": source}
        for source in (metric("a", 1), metric("b", 1), metric("a", 2), metric("a", 2, BASE_MS + 1))
    ]
    statuses = [
        item["create"]["status"] async for _, item in async_streaming_bulk(client, actions, raise_on_error=False)
    ]
    assert statuses == [201, 201, 409, 201]


async def test_refused_requests(client: AsyncElasticsearch, server: tuple[StoreServer, int]) -> None:
    with pytest.raises(BadRequestError, match="unknown query"):
        await client.search(index="logs-*", query={"geo_distance": {}})
    with pytest.raises(BadRequestError, match="Failed to parse query"):
        await client.search(q='message:"open')
    with pytest.raises(NotFoundError, match="no such index"):
        await client.search(index="logs-none.otel-default")
    with pytest.raises(BadRequestError, match="Unknown aggregation"):
        await client.search(aggs={"a": {"percentiles": {"field": "n"}}})
    with pytest.raises(BadRequestError, match="Result window"):
        await client.search(size=20_000)

    def post(body: bytes, **headers: str) -> tuple[int, dict[str, Any]]:
        request = urllib.request.Request(f"http://127.0.0.1:{server[1]}/_bulk", body, headers, method="POST")
        try:
            with urllib.request.urlopen(request) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    good = b'{"create":{"_index":"logs-a.otel-b"}}\n{"@timestamp":1}\n'
    assert (await asyncio.to_thread(post, b""))[0] == 400
    assert (await asyncio.to_thread(post, good[:-1]))[0] == 400
    assert (await asyncio.to_thread(post, b"{]\n{}\n"))[0] == 400
    status, answer = await asyncio.to_thread(post, gzip.compress(good), **{"Content-Encoding": "gzip"})
    assert (status, answer["errors"]) == (200, False)
    items = [
        (b'{"index":{"_index":"logs-a.otel-b"}}\n{"@timestamp":1}\n', 400),
        (b'{"create":{"_index":"plain"}}\n{"@timestamp":1}\n', 404),
        (b'{"create":{"_index":"logs-a.otel-b"}}\n{"no":1}\n', 400),
        (b'{"create":{"_index":"logs-a.otel-b"}}\n{"@timestamp":"never"}\n', 400),
        (b'{"create":{"_index":"logs-a.otel-b"}}\n{"@timestamp":1,"body":"text"}\n', 400),
        (b'{"create":{"_index":"logs-a.otel-b"}}\nbroken\n', 400),
        (b'{"create":{"_index":"metrics-a.otel-b","_id":"x"}}\n{"@timestamp":1}\n', 400),
        (good, 201),
    ]
    status, answer = await asyncio.to_thread(post, b"".join(item for item, _ in items))
    assert status == 200
    assert [next(iter(item.values()))["status"] for item in answer["items"]] == [expected for _, expected in items]


def test_retention_deletes_the_oldest(tmp_path: Path) -> None:
    """By age, then by size; counts of the streams follow."""
    documents = Documents(tmp_path / "documents.sqlite")
    new = [NewDocument("logs-a-b", time, None, b"x" * 4000) for time in range(1000)]
    assert all(documents.write(new, 0))
    assert documents.expire(older_than_ns=100, max_bytes=2**40) == 100
    documents.expire(older_than_ns=0, max_bytes=2_000_000, chunk=50)
    (stream,) = documents.streams()
    kept = [row.time for row in documents.read(["logs-a-b"], (0, 10**9), ())]
    assert kept == sorted(kept, reverse=True)
    assert kept[0] == 999
    assert 200 < len(kept) < 500
    assert (stream.documents, stream.bytes) == (len(kept), 4000 * len(kept))
    documents.close()


def test_retention_by_size_keeps_what_fits(tmp_path: Path) -> None:
    """A store over its size by a third loses about a third, however few and large its documents are."""
    documents = Documents(tmp_path / "documents.sqlite")
    documents.write([NewDocument("logs-a-b", time, None, b"x" * 30_000) for time in range(300)], 0)
    documents.expire(older_than_ns=0, max_bytes=6_000_000)
    (stream,) = documents.streams()
    assert 150 <= stream.documents <= 200
    documents.close()


def test_a_full_disk_is_survived(tmp_path: Path) -> None:
    """A write that does not fit leaves nothing of itself behind, neither documents nor names of streams; there is
    room again after documents were deleted."""
    documents = Documents(tmp_path / "documents.sqlite")
    documents.write([NewDocument("logs-a-b", 1, None, b"x" * 100_000)], 0)
    connection = sqlite3.connect(tmp_path / "documents.sqlite")
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.close()
    documents._connection.execute(f"PRAGMA max_page_count = {pages + 10}")  # SQLite's answer is that of a full disk
    for number in range(3):
        with pytest.raises(sqlite3.OperationalError, match="full"):
            documents.write([NewDocument(f"logs-new{number}-b", 2, None, b"y" * 200_000)], 0)
    assert [(stream.name, stream.documents) for stream in documents.streams()] == [("logs-a-b", 1)]
    assert documents.expire(older_than_ns=2, max_bytes=2**40) == 1
    documents._connection.execute(f"PRAGMA max_page_count = {pages + 10}")
    assert documents.write([NewDocument("logs-new0-b", 2, None, b"y" * 50_000)], 0) == [True]
    assert [row.stream for row in documents.read(["logs-new0-b"], (0, 10), ())] == ["logs-new0-b"]
    documents.close()


DEEP = '{"a":' * 150 + "1" + "}" * 150
MISSHAPEN = [
    '{"query":{"term":{"@timestamp":"never"}}}',
    '{"query":{"range":{"@timestamp":{"gte":1e308}}}}',
    '{"query":{"bool":{"minimum_should_match":"75%"}}}',
    '{"query":{"ids":{"values":[{}]}}}',
    '{"query":{"exists":{"field":5}}}',
    '{"query":{"regexp":{"attributes.n":"a{99999999999}"}}}',
    '{"search_after":[]}',
    '{"track_total_hits":"x"}',
    '{"aggs":{"x":5}}',
    '{"aggs":{"x":{"terms":{}}}}',
    '{"aggs":{"x":{"terms":{"field":"attributes.n","order":{}}}}}',
    '{"aggs":{"x":{"terms":{"field":"attributes.n","size":"x"}}}}',
    '{"aggs":{"x":{"date_histogram":{"field":"message","fixed_interval":"1s"}}}}',
    '{"aggs":' + '{"x":{"terms":{"field":"attributes.n"},"aggs":' * 100 + "{}" + "}}" * 100 + "}",
    '{"query":{"query_string":{"query":"' + "NOT " * 5000 + 'a"}}}',
    '{"query":{"query_string":{"query":"' + "-" * 5000 + 'a"}}}',
]


async def test_misshapen_requests_are_refused(client: AsyncElasticsearch, server: tuple[StoreServer, int]) -> None:
    """Each gets a 400 with Elasticsearch's error, not a crash and not silence; what no search could give back is not
    stored; the store answers afterwards."""
    await fill(client)

    def post(path: str, body: str, **headers: str) -> tuple[int, dict[str, Any]]:
        headers["Content-Type"] = "application/json"
        url = f"http://127.0.0.1:{server[1]}{path}"
        request = urllib.request.Request(url, body.encode(), headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    for body in MISSHAPEN:
        status, answer = await asyncio.to_thread(post, "/_search", body)
        assert (status, answer["status"]) == (400, 400), body[:80]
        assert answer["error"]["reason"]
    status, _ = await asyncio.to_thread(post, "/_bulk", "no gzip", **{"Content-Encoding": "gzip"})
    assert status == 400
    action = '{"create":{"_index":"%s-a.otel-b"}}\n'
    documents = [
        ("logs", '{"@timestamp":1e308}'),
        ("logs", '{"@timestamp":1,"a":' + DEEP + "}"),
        ("metrics", '{"@timestamp":1,"resource":[1]}'),
    ]
    lines = "".join(f"{action % kind}{source}\n" for kind, source in documents)
    status, answer = await asyncio.to_thread(post, "/_bulk", lines)
    assert status == 200
    assert [item["create"]["status"] for item in answer["items"]] == [400, 400, 400]
    wildcard = "*" + "a*" * 40 + "b"
    begun = time.monotonic()
    assert await total(client, query={"wildcard": {"attributes.http.method": {"value": wildcard}}}) == 0
    await client.search(query={"query_string": {"query": wildcard}})
    assert time.monotonic() - begun < 5
    assert await total(client) == 20


_WRITER = """
import sys
from pathlib import Path
from heliograph.store.documents import Documents, NewDocument
documents = Documents(Path(sys.argv[1]))
number = 0
while True:
    documents.write([NewDocument("logs-a-b", number + i, str(number + i).encode(), b"{}") for i in range(10)], 0)
    number += 10
    print(number, flush=True)
"""


def test_an_answered_write_survives_kill(tmp_path: Path) -> None:
    """kill -9 in the midst of writes: whatever was confirmed is there."""
    path = tmp_path / "documents.sqlite"
    with subprocess.Popen([sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        confirmed = 0
        deadline = time.monotonic() + 20
        while confirmed < 500 and time.monotonic() < deadline:
            confirmed = int(process.stdout.readline())
        process.kill()
    assert confirmed >= 500
    documents = Documents(path)
    found = {row.time for row in documents.read(["logs-a-b"], (0, 10**9), ())}
    assert set(range(confirmed)) <= found
    documents.close()
