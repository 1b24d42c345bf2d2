"""How long records are held back is measured by a clock that does not jump."""

import logging
import time
from typing import Any, cast

import pytest

from heliograph.config.decode import from_plain
from heliograph.receivers.file_log.config import FileLogConfig
from heliograph.receivers.file_log.operators import Chain
from heliograph.receivers.file_log.operators.base import OperatorConfig
from heliograph.receivers.file_log.operators.entry import Entry

LOG = logging.LoggerAdapter(logging.getLogger(__name__))
HOUR = 3600 * 10**9


class Sink:
    """The end of the operators."""

    def __init__(self) -> None:
        self.bodies: list[Any] = []

    def process(self, entry: Entry) -> None:
        self.bodies.append(entry.body)


@pytest.mark.parametrize("jump", [-HOUR, 0, HOUR], ids=["back", "none", "forward"])
@pytest.mark.parametrize(
    ("operator", "text"),
    [
        ({"type": "container", "add_metadata_from_filepath": False}, "2024-04-13T08:00:00.5Z stdout P half"),
        ({"type": "recombine", "combine_field": "body", "is_first_entry": 'body matches "^h"'}, "half"),
    ],
    ids=["container", "recombine"],
)
def test_a_wall_clock_that_jumps_neither_cuts_nor_holds_a_record(
    operator: dict[str, Any], text: str, jump: int
) -> None:
    """The record was observed an hour ago, or will be in an hour: it is held for five seconds."""
    config = from_plain(FileLogConfig, {"include": ["/x"], "operators": [operator]})
    sink = Sink()
    chain = Chain(cast(list[OperatorConfig], list(config.operators)), cast(Any, sink), LOG)
    chain.process(Entry(text, time.time_ns() + jump, object(), 0, ""))
    chain.flush(time.monotonic_ns() + 4 * 10**9)
    assert sink.bodies == []
    chain.flush(time.monotonic_ns() + 5 * 10**9)
    assert sink.bodies == ["half"]
