"""Asking the store (or a real Elasticsearch) from the command line.

When nothing listens at the default address and the store's file is on this disk, the file is read directly, so that
what was collected can be searched after everything has stopped.
"""

import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from heliograph.store import search as searching
from heliograph.store.documents import Documents, select_streams
from heliograph.store.errors import StoreError, understood

DEFAULT_URL = "http://127.0.0.1:9200"


class StoreUnreachable(Exception):
    """Nobody answers; the message says where and what to do."""


def data_directory(environ: Mapping[str, str] = os.environ) -> Path:
    """Where `heliograph up` keeps its store, queues and checkpoints: $HELIOGRAPH_HOME, or heliograph/ under
    $XDG_STATE_HOME (~/.local/state)."""
    if home := environ.get("HELIOGRAPH_HOME"):
        return Path(home)
    state = environ.get("XDG_STATE_HOME") or Path(environ.get("HOME", "/")) / ".local" / "state"
    return Path(state) / "heliograph"


def store_file(directory: Path) -> Path:
    """The store's file in a data directory."""
    return directory / "store" / "documents.sqlite"


class StoreClient:
    """`search(index, body)` against a URL, else against the file.

    url: None for the default address. api_key: sent as `Authorization: ApiKey`.
    """

    def __init__(self, url: str | None, api_key: str | None, directory: Path) -> None:
        self.url = (url or DEFAULT_URL).rstrip("/")
        self.api_key = api_key
        self._file: Documents | None = None
        if url is None and not self._listens():
            path = store_file(directory)
            if not path.exists():
                raise StoreUnreachable(
                    f"nothing answers at {self.url} and there is no store at {path}: start `heliograph up`,"
                    " or name another address with --url"
                )
            self._file = Documents(path)

    def _listens(self) -> bool:
        try:
            self._request("GET", "/", None)
        except (StoreUnreachable, StoreError):
            return False
        return True

    def search(self, index: str, body: dict[str, Any]) -> dict[str, Any]:
        """Run a search. Raises StoreUnreachable or StoreError."""
        if self._file is not None:
            file, names = self._file, [stream.name for stream in self._file.streams()]
            return understood(
                lambda: searching.search(
                    file, select_streams(index, names), searching.read_request(body, {}, time.time_ns())
                )
            )
        return self._request("POST", f"/{urllib.parse.quote(index, safe='*,-')}/_search", body)

    def _request(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        request = urllib.request.Request(self.url + path, method=method)
        request.add_header("Content-Type", "application/json")
        if self.api_key:
            request.add_header("Authorization", f"ApiKey {self.api_key}")
        data = None if body is None else json.dumps(body).encode()
        try:
            with urllib.request.urlopen(request, data, timeout=60) as response:
                answer: dict[str, Any] = json.load(response)
                return answer
        except urllib.error.HTTPError as error:
            raise _store_error(error) from None
        except (OSError, ValueError) as error:
            raise StoreUnreachable(f"{self.url} does not answer as Elasticsearch does: {error}") from None


def _store_error(error: urllib.error.HTTPError) -> StoreError:
    try:
        cause = json.load(error)["error"]
        return StoreError(error.code, cause["type"], cause["reason"])
    except (ValueError, KeyError, TypeError, OSError):
        return StoreError(error.code, "http_error", f"{error.url}: {error.code} {error.reason}")
