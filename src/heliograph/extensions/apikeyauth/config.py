"""Keys of the apikeyauth extension: upstream's names and defaults (config.go of extension/apikeyauthextension)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from heliograph.component.config import Duration, key
from heliograph.net.config import HTTPClientConfig

_VERB = re.compile(r"%(.?)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class DynamicResource:
    """A resource whose name depends on the request."""

    metadata: str = key("", "Header of the request that holds the value; each of several values makes a resource.")
    format: str = key("", "The resource, with %s for the value; empty: the value alone.")

    def check(self) -> Iterator[tuple[str, str]]:
        """A header is named, and the format has one place for it."""
        if not self.metadata:
            yield "metadata", "must be non-empty: name the request header"
        verbs = _VERB.findall(self.format or "%s")
        if verbs.count("s") != 1:
            yield "format", f"must contain exactly one %s placeholder, found {verbs.count('s')}"
        if any(verb not in ("s", "%") for verb in verbs):
            yield "format", "may only contain %s and %% (a literal percent sign)"

    def resource(self, value: str) -> str:
        """The resource for a value."""
        return _VERB.sub(lambda found: value if found[1] == "s" else "%", self.format or "%s")


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationPrivileges:
    """What a key must be allowed to do in one application."""

    application: str = key("", "Name of the application, for example apm.")
    privileges: list[str] = key(list, "Privileges that the key must have.")
    resources: list[str] = key(list, "Resources that it must have them on.")
    dynamic_resources: list[DynamicResource] = key(list, "Further resources, named by the request's headers.")


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheConfig:
    """How long an answer of Elasticsearch is remembered."""

    key_headers: list[str] = key(list, "Headers that must be there, and whose values part the memory.")
    key_metadata: list[str] = key(list, "Like key_headers; those that dynamic_resources names must be here.")
    pbkdf2_iterations: int = key(1000, "No effect: only a digest of a key is kept, made with a secret of this process.")
    capacity: int = key(1000, "Most keys remembered, of those let in and of those refused; the oldest go first.")
    ttl: Duration = key(Duration(30), "How long.")

    def check(self) -> Iterator[tuple[str, str]]:
        """Everything is positive."""
        for name in ("capacity", "pbkdf2_iterations", "ttl"):
            if getattr(self, name) <= 0:
                yield name, "must be greater than 0"
        if self.capacity > 0xFFFFFFFF:
            yield "capacity", "must be less than 4294967296"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryConfig:
    """Asking Elasticsearch again when it is busy or away (429, 502, 503, 504, no connection)."""

    enabled: bool = key(True, "Whether it is asked again.")
    max_retries: int = key(3, "How many times.")
    initial_interval: Duration = key(Duration(0.1), "Wait before the first; it doubles with each.")
    max_interval: Duration = key(Duration(5), "No wait is longer.")

    def check(self) -> Iterator[tuple[str, str]]:
        """Numbers in order."""
        if not self.enabled:
            return
        if self.max_retries < 0:
            yield "max_retries", "must not be negative"
        if self.initial_interval <= 0:
            yield "initial_interval", "must be greater than 0"
        if self.max_interval < self.initial_interval:
            yield "max_interval", "must not be less than initial_interval"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientRetryConfig:
    """What senders are told while Elasticsearch cannot be asked."""

    enabled: bool = key(True, "Tell them when to try again. They keep the data in any case.")
    retry_delay: Duration = key(Duration(1), "After this time.")

    def check(self) -> Iterator[tuple[str, str]]:
        """The delay is positive."""
        if self.enabled and self.retry_delay <= 0:
            yield "retry_delay", "must be greater than 0"


_DEFAULT_RETRY = RetryConfig()


@dataclass(frozen=True, slots=True, kw_only=True)
class APIKeyAuthConfig(HTTPClientConfig):
    """Lets in senders whose Elasticsearch API key has the privileges that are listed."""

    endpoint: str = key("", "URL of Elasticsearch, which is asked about keys.")
    timeout: Duration = key(Duration(10), "Longest time of a check, all attempts included; 0: none.")
    application_privileges: list[ApplicationPrivileges] = key(
        list, "What a key must be allowed to do; empty: any valid key is let in."
    )
    cache: CacheConfig = key(CacheConfig, "How long an answer is remembered.")
    retry: RetryConfig = key(
        RetryConfig, "Old name of elasticsearch_retry.", deprecated="use elasticsearch_retry, which wins over it"
    )
    elasticsearch_retry: RetryConfig = key(RetryConfig, "Asking Elasticsearch again.")
    client_retry: ClientRetryConfig = key(ClientRetryConfig, "What senders are told.")

    def check(self) -> Iterator[tuple[str, str]]:
        """An address, and headers that part the memory where resources depend on them."""
        yield from HTTPClientConfig.check(self)
        if urlsplit(self.endpoint).scheme not in ("http", "https") or not urlsplit(self.endpoint).hostname:
            yield "endpoint", f"{self.endpoint!r} is no http:// or https:// URL of Elasticsearch"
        known = set(self.cache.key_metadata)
        for number, application in enumerate(self.application_privileges):
            for place, dynamic in enumerate(application.dynamic_resources):
                if dynamic.metadata and dynamic.metadata not in known:
                    where = f"application_privileges.{number}.dynamic_resources.{place}"
                    yield where, f"metadata {dynamic.metadata!r} must be listed in cache::key_metadata too"

    @property
    def attempts(self) -> RetryConfig:
        """elasticsearch_retry, or the old key where only that one is set."""
        if self.elasticsearch_retry == _DEFAULT_RETRY:
            return self.retry
        return self.elasticsearch_retry
