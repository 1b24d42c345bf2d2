"""Documents that a test finds in the Elasticsearch of the lab."""

import json
import time
from collections.abc import Callable
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

SERVICE = "resource.attributes.service.name"
NAMESPACE = "resource.attributes.k8s.namespace.name"


def search(url: str, stream: str, terms: dict[str, str]) -> list[dict[str, Any]]:
    """Documents of a data stream."""
    query = {"size": 50, "query": {"bool": {"filter": [{"term": {key: value}} for key, value in terms.items()]}}}
    request = Request(f"{url}/{stream}/_search", json.dumps(query).encode(), {"Content-Type": "application/json"})
    try:
        with urlopen(request, timeout=10) as response:
            return [hit["_source"] for hit in json.load(response)["hits"]["hits"]]
    except HTTPError as error:
        if error.code in (404, 503):  # no such stream; its shard is not there yet
            return []
        raise


def first(url: str, stream: str, seconds: float, told: Callable[[], str], **terms: str) -> dict[str, Any]:
    """The first document with these terms, as soon as there is one. told: what the failure's message ends with."""
    end = time.monotonic() + seconds
    while not (documents := search(url, stream, terms)):
        assert time.monotonic() < end, f"nothing in {stream} with {terms} within {seconds:g} s; {told()}"
        time.sleep(1)
    return documents[0]
