"""The headers_setter extension: headers of what exporters send, from the configuration or from who sent the data.

Keys and rules are upstream's (extension/headerssetterextension), for gRPC as for HTTP: actions see the headers that the
exporter's own configuration sets (upstream's see them over HTTP only). A header that came more than once is no value:
the data is refused, rather than written under a name that was guessed.
"""

from heliograph.component.factory import Factory
from heliograph.component.ids import Kind
from heliograph.extensions.headers_setter.config import HeadersSetterConfig
from heliograph.extensions.headers_setter.setter import HeadersSetter

FACTORY = Factory(
    kind=Kind.EXTENSION,
    type="headers_setter",
    config=HeadersSetterConfig,
    create=HeadersSetter,
    signals=frozenset(),
)
