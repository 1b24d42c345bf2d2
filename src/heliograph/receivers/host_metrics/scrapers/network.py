"""Network interfaces, TCP connections by state, connection tracking. Sources: /proc/net and nf_conntrack."""

from collections import Counter

from heliograph.otlp.metrics_encode import Point
from heliograph.receivers.host_metrics.config import NetworkConfig
from heliograph.receivers.host_metrics.host import HostFiles
from heliograph.receivers.host_metrics.match import chosen, matcher
from heliograph.receivers.host_metrics.reading import Reading

_COLUMNS = {  # metric: columns of /proc/net/dev for receive and transmit
    "system.network.packets": (1, 9),
    "system.network.dropped": (3, 11),
    "system.network.errors": (2, 10),
    "system.network.io": (0, 8),
}
_STATES = {  # /proc/net/tcp's codes (include/net/tcp_states.h)
    "01": "ESTABLISHED",
    "02": "SYN_SENT",
    "03": "SYN_RECV",
    "04": "FIN_WAIT_1",
    "05": "FIN_WAIT_2",
    "06": "TIME_WAIT",
    "07": "CLOSE",
    "08": "CLOSE_WAIT",
    "09": "LAST_ACK",
    "0A": "LISTEN",
    "0B": "CLOSING",
    "": "DELETE",  # a state that only other systems have; upstream reports it as 0
}


class NetworkScraper:
    """Has no state."""

    def __init__(self, config: NetworkConfig) -> None:
        self.on = config.metrics
        self._include = matcher(config.include.interfaces, config.include.match_type)
        self._exclude = matcher(config.exclude.interfaces, config.exclude.match_type)

    def scrape(self, host: HostFiles, reading: Reading) -> dict[str, list[Point]]:
        """Points by metric name. Raises OSError, ValueError."""
        found: dict[str, list[Point]] = {name: [] for name in _COLUMNS if name in self.on}
        with reading.part("interfaces"):
            self._interfaces(host, found)
        if "system.network.connections" in self.on:
            with reading.part("connections"):
                found["system.network.connections"] = _connections(host)
        with reading.part("connection tracking"):
            for kind in ("count", "max"):
                name = f"system.network.conntrack.{kind}"
                if name in self.on:
                    found[name] = [((), int(host.text(f"sys/net/netfilter/nf_conntrack_{kind}")))]
        return found

    def _interfaces(self, host: HostFiles, found: dict[str, list[Point]]) -> None:
        for line in host.lines("net/dev")[2:]:
            device, _, rest = line.strip().rpartition(":")
            numbers = rest.split()
            if len(numbers) < 12 or not chosen(device, self._include, self._exclude):
                continue
            for name, points in found.items():
                receive, transmit = _COLUMNS[name]
                points.append(((("device", device), ("direction", "transmit")), int(numbers[transmit])))
                points.append(((("device", device), ("direction", "receive")), int(numbers[receive])))


def _connections(host: HostFiles) -> list[Point]:
    counts: Counter[str] = Counter()
    for name in ("net/tcp", "net/tcp6"):
        try:
            lines = host.lines(name)
        except FileNotFoundError:
            continue  # a kernel without IPv6
        for line in lines[1:]:
            columns = line.split(None, 4)
            if len(columns) > 3:
                counts[columns[3]] += 1
    return [((("protocol", "tcp"), ("state", state)), counts[code]) for code, state in _STATES.items()]
