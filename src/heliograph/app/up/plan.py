"""Which processes `up` starts, with which files, environment and ports."""

import os
import socket
import sys
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from heliograph.component.errors import StartError
from heliograph.presets import preset

HOST = "127.0.0.1"
POD_LOGS = "/var/log/pods"


@dataclass(frozen=True, slots=True)
class Role:
    """One process. ready: URL that answers 200 when it is up, "" when there is none."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    ready: str = ""


def plan(arguments: Namespace) -> list[Role]:
    """The processes in the order of starting (back to front). Raises StartError for taken ports, missing parts, and
    flags that would have no effect."""
    directory: Path = arguments.directory
    if arguments.api_key is not None and arguments.elasticsearch is None:
        raise StartError("--api-key is for --elasticsearch: the store of `up` asks for no key; give both or none")
    _check_ports(arguments)
    roles: list[Role] = []
    elasticsearch = arguments.elasticsearch
    if elasticsearch is None:
        elasticsearch = f"http://{HOST}:{arguments.store_port}"
        command = (
            sys.executable,
            "-m",
            "heliograph.store",
            f"--directory={directory}",
            f"--port={arguments.store_port}",
        )
        roles.append(Role("store", command, ready=elasticsearch))
    gateway = {"HELIOGRAPH_GATEWAY": f"{HOST}:{arguments.gateway_port}"}
    backend = {"HELIOGRAPH_BACKEND": f"{HOST}:{arguments.backend_port}"}
    index = {
        "HELIOGRAPH_ELASTICSEARCH": elasticsearch,
        "HELIOGRAPH_ELASTICSEARCH_API_KEY": arguments.api_key or "",
    }
    roles.append(_collector(arguments, 2, "backend", ["backend"], {**backend, **index}))
    roles.append(_collector(arguments, 1, "gateway", ["gateway"], {**gateway, **backend}))
    doors = {
        "HELIOGRAPH_OTLP_GRPC": f"{HOST}:{arguments.otlp_grpc_port}",
        "HELIOGRAPH_OTLP_HTTP": f"{HOST}:{arguments.otlp_http_port}",
        "HELIOGRAPH_DEMO_LOGS": str(demo_logs(directory)),
    }
    roles.append(_collector(arguments, 0, "daemon", ["daemon", *log_presets(arguments)], {**gateway, **doors}))
    if arguments.kubeconfig is not None:
        if not arguments.kubeconfig.is_file():
            raise StartError(f"--kubeconfig {arguments.kubeconfig}: there is no such file")
        kubeconfig = {"KUBECONFIG": str(arguments.kubeconfig.absolute())}
        roles.append(_collector(arguments, 3, "cluster", ["cluster"], {**gateway, **kubeconfig}))
    if arguments.demo:
        roles.append(_demo(arguments))
    return roles


def log_presets(arguments: Namespace) -> list[str]:
    """Which logs this machine has: those of containers, else text files; and the demo's."""
    containers = os.path.isdir(POD_LOGS) and bool(os.listdir(POD_LOGS))
    return ["container-logs" if containers else "system-logs", *(["demo-logs"] if arguments.demo else [])]


def demo_logs(directory: Path) -> Path:
    """Where the demo writes what a kubelet would write to /var/log/pods."""
    return directory / "demo" / "pods"


def _collector(arguments: Namespace, place: int, name: str, presets: list[str], environment: dict[str, str]) -> Role:
    health = f"{HOST}:{arguments.health_port + place}"
    own = {
        "HELIOGRAPH_STORAGE": str(arguments.directory / name),
        "HELIOGRAPH_HEALTH": health,
        "HELIOGRAPH_METRICS_PORT": str(arguments.metrics_port + place),
    }
    configs = [f"--config={preset(one)}" for one in presets]
    command = (sys.executable, "-m", "heliograph", *configs)
    return Role(name, command, {**environment, **own}, ready=f"http://{health}/")


def _demo(arguments: Namespace) -> Role:
    if find_spec("opentelemetry.sdk") is None or find_spec("opentelemetry.exporter") is None:
        raise StartError("--demo needs the OpenTelemetry SDK for Python: pip install 'heliograph[demo]'")
    command = (
        sys.executable,
        "-m",
        "heliograph.app.demo",
        f"--endpoint=http://{HOST}:{arguments.otlp_grpc_port}",
        f"--logs={demo_logs(arguments.directory)}",
    )
    return Role("demo", command)


def ports(arguments: Namespace) -> dict[str, list[int]]:
    """Every port that is needed, by the flag that moves it."""
    collectors = 3 if arguments.kubeconfig is None else 4
    needed = {
        "--otlp-grpc-port": [arguments.otlp_grpc_port],
        "--otlp-http-port": [arguments.otlp_http_port],
        "--gateway-port": [arguments.gateway_port],
        "--backend-port": [arguments.backend_port],
        "--health-port": [arguments.health_port + place for place in range(collectors)],
        "--metrics-port": [arguments.metrics_port + place for place in range(collectors)],
    }
    if arguments.elasticsearch is None:
        needed["--store-port"] = [arguments.store_port]
    return needed


def _check_ports(arguments: Namespace) -> None:
    numbers = [number for needed in ports(arguments).values() for number in needed]
    if wrong := sorted({number for number in numbers if not 0 < number < 65536}):
        raise StartError(f"{', '.join(map(str, wrong))}: a port is a number from 1 to 65535")
    if twice := sorted({number for number in numbers if numbers.count(number) > 1}):
        raise StartError(f"port {', '.join(map(str, twice))} is given twice: choose another one by one of the flags")
    taken = [
        f"port {port} is taken: choose another one with {flag}"
        for flag, numbers in ports(arguments).items()
        for port in numbers
        if not _free(port)
    ]
    if taken:
        raise StartError("\n".join(taken))


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
