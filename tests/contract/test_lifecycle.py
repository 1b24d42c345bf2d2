"""Every component of the catalog keeps the contract of component/lifecycle.py.

The table holds the smallest configuration of each type whose defaults are not enough (PORT stands for a free port, TMP
for the test's folder). A type that is not in the table is made from its defaults; a type whose package cannot be
imported fails.
"""

import dataclasses
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from heliograph import catalog
from heliograph.component.factory import ALL_SIGNALS, Factory, Settings
from heliograph.component.ids import Kind, Signal
from heliograph.component.lifecycle import Component, Consumer
from heliograph.config.decode import from_plain
from heliograph.testing.host import TestHost
from heliograph.testing.settings import settings
from heliograph.testing.sink import SinkConsumer

ALL = [(kind, type_) for kind in Kind for type_ in catalog.types(kind)]
MINIMAL: dict[tuple[Kind, str], dict[str, Any]] = {
    (Kind.RECEIVER, "file_log"): {"include": ["TMP/*.log"]},
    (Kind.RECEIVER, "host_metrics"): {"scrapers": {"load": {}}},
    (Kind.RECEIVER, "k8s_cluster"): {"auth_type": "none"},
    (Kind.RECEIVER, "k8s_events"): {"auth_type": "none"},
    (Kind.RECEIVER, "k8s_objects"): {"auth_type": "none", "objects": [{"name": "pods"}]},
    (Kind.RECEIVER, "kubelet_stats"): {"auth_type": "none", "endpoint": "127.0.0.1:PORT"},
    (Kind.RECEIVER, "otlp"): {
        "protocols": {"grpc": {"endpoint": "127.0.0.1:PORT"}, "http": {"endpoint": "127.0.0.1:PORT"}}
    },
    (Kind.PROCESSOR, "attributes"): {"actions": [{"key": "a", "value": "b", "action": "upsert"}]},
    (Kind.PROCESSOR, "k8s_attributes"): {"passthrough": True},
    (Kind.PROCESSOR, "memory_limiter"): {"check_interval": "1s", "limit_mib": 4000},
    (Kind.PROCESSOR, "resource"): {"attributes": [{"key": "a", "value": "b", "action": "upsert"}]},
    (Kind.PROCESSOR, "resource_detection"): {"detectors": ["env"]},
    (Kind.EXPORTER, "elasticsearch"): {"endpoint": "http://127.0.0.1:PORT"},
    (Kind.EXPORTER, "file"): {"path": "TMP/out.json"},
    (Kind.EXPORTER, "otlp_grpc"): {"endpoint": "127.0.0.1:PORT", "tls": {"insecure": True}},
    (Kind.EXPORTER, "otlp_http"): {"endpoint": "http://127.0.0.1:PORT"},
    (Kind.EXTENSION, "apikeyauth"): {"endpoint": "http://127.0.0.1:PORT"},
    (Kind.EXTENSION, "basicauth"): {"client_auth": {"username": "u", "password": "p"}},
    (Kind.EXTENSION, "bearertokenauth"): {"token": "secret"},
    (Kind.EXTENSION, "file_storage"): {"directory": "TMP"},
    (Kind.EXTENSION, "headers_setter"): {"headers": [{"key": "a", "value": "b"}]},
    (Kind.EXTENSION, "health_check"): {"endpoint": "127.0.0.1:PORT"},
    (Kind.EXTENSION, "k8s_leader_elector"): {"auth_type": "none", "lease_name": "a", "lease_namespace": "b"},
}


def filled(value: Any, tmp: Path, port: Callable[[], int]) -> Any:
    """The configuration with ports and folders in it."""
    if isinstance(value, dict):
        return {name: filled(item, tmp, port) for name, item in value.items()}
    if isinstance(value, list):
        return [filled(item, tmp, port) for item in value]
    if isinstance(value, str):
        value = value.replace("TMP", str(tmp))
        return value.replace("PORT", str(port())) if "PORT" in value else value
    return value


def all_settings(factory: Factory) -> Iterator[Settings]:
    """Settings as the pipeline gives them: for one signal each, or for all."""
    everything = {signal: SinkConsumer() for signal in Signal}
    match factory.kind:
        case Kind.EXPORTER:
            yield from (settings(factory.kind, factory.type, signal) for signal in sorted(factory.signals))
        case Kind.PROCESSOR:
            for signal in sorted(factory.signals):
                yield settings(factory.kind, factory.type, signal, {signal: everything[signal]})
        case Kind.RECEIVER:
            outputs = {signal: everything[signal] for signal in factory.signals}
            yield settings(factory.kind, factory.type, outputs=outputs)
        case Kind.CONNECTOR:
            pipelines = {str(signal): sink for signal, sink in everything.items()}
            yield settings(factory.kind, factory.type, outputs=everything, pipelines=pipelines)
        case Kind.EXTENSION:
            yield settings(factory.kind, factory.type)


@pytest.fixture(params=ALL, ids=[f"{kind}-{type_}" for kind, type_ in ALL])
def make(
    request: pytest.FixtureRequest, tmp_path: Path, free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> Callable[[], list[Component]]:
    """A function that makes one instance of a type for each of its signals, in a pod whose API server is away."""
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(free_port()))
    kind, type_ = request.param
    factory = catalog.factory(kind, type_)
    plain = filled(MINIMAL.get((kind, type_), {}), tmp_path, free_port)
    config = from_plain(factory.config, plain)
    return lambda: [factory.create(made, config) for made in all_settings(factory)]


@pytest.mark.parametrize(("kind", "type_"), ALL)
def test_the_declaration_is_right(kind: Kind, type_: str) -> None:
    """The factory says what the catalog says; its configuration is a frozen dataclass with documented keys."""
    factory = catalog.factory(kind, type_)
    assert (factory.kind, factory.type) == (kind, type_)
    assert all(catalog.canonical(kind, alias) == type_ for alias in factory.aliases)
    assert dataclasses.is_dataclass(factory.config)
    assert factory.config.__dataclass_params__.frozen
    undocumented = [field.name for field in dataclasses.fields(factory.config) if not field.metadata.get("doc")]
    assert undocumented == []
    assert factory.signals <= ALL_SIGNALS
    assert bool(factory.pairs) is (kind is Kind.CONNECTOR)


async def test_start_and_shutdown_twice(make: Callable[[], list[Component]]) -> None:
    """It starts, stops within its deadline, and stopping again does nothing; no work goes on and nothing crashed."""
    for component in make():
        async with TestHost() as host:
            assert isinstance(component, Component)
            await component.start(host)
            began = time.monotonic()
            await component.shutdown(began + 2)
            assert time.monotonic() - began < 3
            await component.shutdown(time.monotonic() + 1)
            assert host.crashes == []


async def test_shutdown_unstarted(make: Callable[[], list[Component]]) -> None:
    """Stopping what was never started is harmless."""
    for component in make():
        await component.shutdown(time.monotonic() + 1)


async def test_two_lives_of_two_instances(make: Callable[[], list[Component]]) -> None:
    """What was stopped has let go of ports and files: another instance with the same configuration starts."""
    for _ in range(2):
        async with TestHost() as host:
            for component in make():
                await component.start(host)
                await component.shutdown(time.monotonic() + 2)


async def test_those_that_take_data_are_consumers(make: Callable[[], list[Component]], request: Any) -> None:
    """Processors, exporters and connectors consume; receivers and extensions do not."""
    kind = request.node.callspec.params["make"][0]
    for component in make():
        assert isinstance(component, Consumer) is (kind in (Kind.PROCESSOR, Kind.EXPORTER, Kind.CONNECTOR))
