"""The basicauth extension: user and password, added to what exporters send or expected from what receivers get."""

from heliograph.component.factory import Factory, Settings
from heliograph.component.ids import Kind
from heliograph.extensions.basicauth.auth import BasicAuthClient, BasicAuthServer
from heliograph.extensions.basicauth.config import BasicAuthConfig


def create(settings: Settings, config: BasicAuthConfig) -> BasicAuthClient | BasicAuthServer:
    """A server with `htpasswd`, a client with `client_auth`."""
    if config.htpasswd is not None:
        return BasicAuthServer(settings, config.htpasswd)
    assert config.client_auth is not None
    return BasicAuthClient(settings, config.client_auth)


FACTORY = Factory(kind=Kind.EXTENSION, type="basicauth", config=BasicAuthConfig, create=create, signals=frozenset())
