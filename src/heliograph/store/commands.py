"""`heliograph search` and `heliograph tail`: documents as lines that a person reads, or as JSON."""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from heliograph.store.client import DEFAULT_URL, StoreClient, StoreUnreachable, data_directory
from heliograph.store.errors import StoreError
from heliograph.store.fields import Document, values
from heliograph.store.times import iso, to_ns

EVERYTHING = "logs-*,metrics-*,traces-*"
OVERLAP_NS = 10 * 10**9
# What is in a log is somebody else's text: it does not steer the terminal, and a document stays one line.
_CONTROLS = {
    **{code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))},
    ord("\n"): "\\n",
    ord("\r"): "\\r",
    ord("\t"): "\\t",
}
_JSON_CONTROLS = {code: f"\\u{code:04x}" for code in range(127, 160)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments that both commands share."""
    parser.add_argument(
        "query",
        nargs="?",
        default="*",
        help="Lucene query, for example 'service.name:checkout'; one that begins with - comes last, after --",
    )
    parser.add_argument("--index", default=EVERYTHING, help="data streams, for example logs-* (default: all)")
    parser.add_argument("--url", help=f"Elasticsearch or store to ask (default: {DEFAULT_URL}, else the store's file)")
    parser.add_argument("--api-key", help="sent as Authorization: ApiKey")
    parser.add_argument("--size", type=int, default=20, help="how many documents (default 20)")
    parser.add_argument("--json", action="store_true", help="whole documents, one JSON object a line")
    parser.add_argument("--directory", type=Path, default=data_directory(), help="data directory of `heliograph up`")


def search(arguments: argparse.Namespace) -> int:
    """Print what matches, oldest first, and on stderr how many there are. Returns the exit code."""
    try:
        client = StoreClient(arguments.url, arguments.api_key, arguments.directory)
        found = client.search(arguments.index, _request(arguments.query, arguments.size))["hits"]
    except (StoreUnreachable, StoreError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    for hit in reversed(found["hits"]):
        print(_line(hit, arguments.json))
    total = found["total"]
    more = "more than " if total["relation"] == "gte" else ""
    print(f"{len(found['hits'])} of {more}{total['value']} documents", file=sys.stderr)
    return 0


def tail(arguments: argparse.Namespace) -> int:
    """Print documents as they arrive, until interrupted. Returns the exit code."""
    since = time.time_ns()
    seen: dict[str, int] = {}
    try:
        client = StoreClient(arguments.url, arguments.api_key, arguments.directory)
        while True:
            request = _request(arguments.query, 1000)
            newer = {"range": {"@timestamp": {"gte": iso(since - OVERLAP_NS)}}}
            request["query"] = {"bool": {"must": [request["query"]], "filter": [newer]}}
            for hit in reversed(client.search(arguments.index, request)["hits"]["hits"]):
                key = f"{hit['_index']}/{hit['_id']}"
                at = to_ns(hit["_source"]["@timestamp"])
                if key not in seen and at >= since - OVERLAP_NS:
                    print(_line(hit, arguments.json), flush=True)
                seen[key] = at
            since = min(max([since, *seen.values()]), time.time_ns())  # a clock that is ahead hides nothing
            seen = {key: at for key, at in seen.items() if at >= since - OVERLAP_NS}
            time.sleep(1)
    except KeyboardInterrupt:
        return 0
    except (StoreUnreachable, StoreError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1


def _request(query: str, size: int) -> dict[str, Any]:
    return {
        "query": {"query_string": {"query": query, "default_operator": "and"}},
        "size": size,
        "sort": [{"@timestamp": "desc"}],
    }


def _line(hit: dict[str, Any], as_json: bool) -> str:
    document: Document = hit["_source"]
    if as_json:
        # Controls are escaped by JSON, all but those between 127 and 159.
        whole = json.dumps({"_index": hit["_index"], "_id": hit["_id"], **document}, ensure_ascii=False)
        return whole.translate(_JSON_CONTROLS)
    who = " ".join(
        str(found[0]) for name in ("host.name", "service.name", "k8s.pod.name") if (found := values(document, name))
    )
    line = f"{iso(to_ns(document['@timestamp']))}  {hit['_index']}  {who}  {_summary(document)}"
    return line.translate(_CONTROLS)


def _summary(document: Document) -> str:
    if "metrics" in document:
        metrics = " ".join(f"{name}={json.dumps(value)}" for name, value in document["metrics"].items())
        attributes = " ".join(f"{name}={value}" for name, value in document.get("attributes", {}).items())
        return f"{metrics} {{{attributes}}}" if attributes else metrics
    if "duration" in document:
        status = document.get("status", {}).get("code", "")
        return f"{document['name']} {document.get('kind', '')} {document['duration'] / 1e6:.1f} ms {status}".rstrip()
    body = document.get("body", {})
    text = body.get("text") if "text" in body else json.dumps(body) if body else document.get("event_name", "")
    level = document.get("severity_text")
    return f"{level} {text}" if level else str(text)
