"""Keepalive of connections: the keys and defaults of upstream's configgrpc, in seconds.

Server: `keepalive::server_parameters` and `keepalive::enforcement_policy`. Client: `keepalive`.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerKeepalive:
    """How long connections live, when they are pinged, and how often clients may ping.

    max_connection_age has a jitter of 10 %, so that clients do not come back at once. min_time, permit_without_stream:
    a client that pings more often than this, or without calls, is told `too_many_pings`.
    """

    max_connection_idle: float = math.inf
    max_connection_age: float = math.inf
    max_connection_age_grace: float = math.inf
    time: float = 7200.0
    timeout: float = 20.0
    min_time: float = 300.0
    permit_without_stream: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientKeepalive:
    """When a client pings: after `time` without a byte from the server; no answer in `timeout`: the connection ends."""

    time: float = math.inf
    timeout: float = 20.0
    permit_without_stream: bool = False
