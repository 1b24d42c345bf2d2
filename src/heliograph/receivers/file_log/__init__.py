"""Receiver file_log: follows log files, parses their lines, hands them on as OTLP, remembers what was acknowledged.

The data path, in the order of the modules: finder (which paths) -> tracker (which file is which) -> file (bytes) ->
frame (records) -> lines (the hot path) or operators/ (everything else) -> encode (OTLP) -> reader (one read) ->
receiver (the driver) -> checkpoint.
"""

from heliograph.component.factory import Factory
from heliograph.component.ids import Kind, Signal
from heliograph.receivers.file_log.config import FileLogConfig
from heliograph.receivers.file_log.receiver import FileLog

FACTORY = Factory(
    kind=Kind.RECEIVER,
    type="file_log",
    aliases=("filelog",),
    config=FileLogConfig,
    create=FileLog,
    signals=frozenset({Signal.LOGS}),
)
