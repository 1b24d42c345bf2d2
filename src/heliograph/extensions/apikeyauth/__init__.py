"""The apikeyauth extension: senders show an Elasticsearch API key, and Elasticsearch says what it may do.

    authenticator -> verdicts (what was said lately) -> privileges (one request to Elasticsearch)

Upstream: extension/apikeyauthextension of Elastic's Collector components. Where that one would make a sender drop its
data (Elasticsearch fails, the gateway's own settings are wrong), this one answers UNAVAILABLE / 503.
"""

from heliograph.component.factory import Factory
from heliograph.component.ids import Kind
from heliograph.extensions.apikeyauth.authenticator import APIKeyAuth
from heliograph.extensions.apikeyauth.config import APIKeyAuthConfig

FACTORY = Factory(
    kind=Kind.EXTENSION, type="apikeyauth", config=APIKeyAuthConfig, create=APIKeyAuth, signals=frozenset()
)
