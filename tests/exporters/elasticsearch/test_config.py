"""Keys and defaults of the elasticsearch exporter."""

from typing import Any

import pytest

from heliograph.component.errors import ConfigError
from heliograph.config.decode import from_plain
from heliograph.exporters.elasticsearch.config import ElasticsearchConfig

HERE = {"endpoint": "http://localhost:9200"}


def config(**plain: Any) -> ElasticsearchConfig:
    """A configuration with an endpoint."""
    return from_plain(ElasticsearchConfig, {**HERE, **plain})


def test_defaults_are_upstreams() -> None:
    """As `print-config` of upstream 0.156 shows them."""
    made = config()
    queue = made.queue()
    assert (queue.queue_size, queue.num_consumers, queue.block_on_overflow, queue.sizer) == (10, 10, True, "requests")
    assert queue.batch is not None
    assert (queue.batch.min_size, queue.batch.max_size, queue.batch.flush_timeout) == (1_000_000, 5_000_000, 10)
    assert queue.batch_sizer == "bytes"
    assert (made.timeout, made.compression, made.compression_params.level) == (90, "gzip", 1)
    assert (made.retry.initial_interval, made.retry.max_interval, made.retry.retry_on_status) == (0.1, 60, [429])
    assert made.retry.attempts == 0


def test_one_key_of_the_batch_leaves_the_others() -> None:
    """Nested keys keep this exporter's defaults, not those of other exporters."""
    batch = config(sending_queue={"batch": {"max_size": 2_000_000}}).queue().batch
    assert batch is not None
    assert (batch.max_size, batch.min_size, batch.flush_timeout) == (2_000_000, 1_000_000, 10)


def test_old_keys_set_what_replaced_them() -> None:
    """flush and num_workers work where the new keys have their defaults, and only there."""
    queue = config(flush={"interval": "3s", "bytes": 500_000}, num_workers=4).queue()
    assert queue.batch is not None
    assert (queue.batch.flush_timeout, queue.batch.max_size, queue.num_consumers) == (3, 500_000, 4)
    assert queue.batch.min_size <= queue.batch.max_size
    explicit = config(flush={"interval": "3s"}, sending_queue={"batch": {"flush_timeout": "7s"}}).queue().batch
    assert explicit is not None
    assert explicit.flush_timeout == 7


def test_metadata_keys_partition_the_batch() -> None:
    """In lower case, as headers are looked up."""
    batch = config(metadata_keys=["X-Tenant"]).queue().batch
    assert batch is not None
    assert batch.partition.metadata_keys == ["x-tenant"]


@pytest.mark.parametrize(
    ("plain", "says"),
    [
        ({"endpoints": ["http://b"]}, "exactly one of endpoint, endpoints and cloudid"),
        ({"endpoint": "localhost:9200"}, "no http:// or https:// URL"),
        ({"endpoint": "http://local host:9200"}, "no http:// or https:// URL"),
        ({"endpoint": "https://localhost:99999"}, "no http:// or https:// URL"),
        ({"endpoint": "", "cloudid": "no"}, "no Cloud ID"),
        ({"endpoint": ""}, "exactly one of endpoint, endpoints, cloudid must be given"),
        ({"mapping": {"mode": "ecs"}}, "mapping mode 'ecs' is not done here"),
        ({"mapping": {"mode": "none"}}, "mapping mode 'none' has no effect here"),
        ({"mapping": {"mode": "raw"}}, "mapping mode 'raw' has no effect here"),
        ({"mapping": {"mode": "bodymap"}}, "mapping mode 'bodymap' has no effect here"),
        ({"mapping": {"mode": "x"}}, "does not exist"),
        ({"mapping": {"allowed_modes": ["ecs"]}}, "add otel"),
        ({"compression": "zstd"}, "must be gzip or none"),
        ({"retry": {"max_requests": 2, "max_retries": 2}}, "must not be given together"),
        ({"retry": {"max_retries": -1}}, "must not be negative"),
        ({"logs_index": "a", "logs_dynamic_index": {"enabled": True}}, "must not be given together"),
        ({"metadata_keys": ["a", "A"]}, "duplicate entry"),
        ({"bulk_response_filter_path": "items.*._index"}, "items.*.status"),
        ({"read_buffer_size": 5}, "read_buffer_size"),
        ({"dead_letters": {"max_size": -1}}, "must not be negative"),
    ],
)
def test_mistakes_are_refused(plain: dict[str, Any], says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with what is wrong."""
    monkeypatch.delenv("ELASTICSEARCH_URL", raising=False)
    with pytest.raises(ConfigError) as caught:
        config(**plain)
    assert says in str(caught.value)


def test_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a Cloud ID and of the environment."""
    cloud = config(endpoint="", cloudid="foo:YmFyLmNsb3VkLmVzLmlvJGFiYzEyMyRkZWY0NTY=")
    assert cloud.urls() == ["https://abc123.bar.cloud.es.io"]
    monkeypatch.setenv("ELASTICSEARCH_URL", "http://a:9200, http://b:9200")
    assert config(endpoint="").urls() == ["http://a:9200", "http://b:9200"]


def test_secrets_are_not_shown() -> None:
    """In the representation of a configuration."""
    assert "geheim" not in repr(config(password="geheim", api_key="geheim"))


def test_wildcards_in_the_filter_path_are_understood() -> None:
    """What lets the needed fields through is accepted."""
    for path in ("items", "items.*", "items.*.status,items.*.error", "items.*.status,items.*.error.*", "**.status"):
        assert config(bulk_response_filter_path=path).bulk_response_filter_path == path


def test_how_often_to_try() -> None:
    """Attempts in all; 0 is no limit."""
    assert config(retry={"max_retries": 5}).retry.attempts == 6
    assert config(retry={"max_requests": 5}).retry.attempts == 5
    assert config(retry={"enabled": False}).retry.attempts == 1
