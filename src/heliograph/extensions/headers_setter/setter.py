"""Actions on the headers of a request, and where their values come from."""

from collections.abc import Callable, Mapping

from heliograph.component.auth import ClientAuth, HeaderEditor, with_credentials
from heliograph.component.batch import Context
from heliograph.component.errors import Permanent, StartError
from heliograph.component.factory import Settings
from heliograph.component.lifecycle import Host
from heliograph.extensions.headers_setter.config import HeaderConfig, HeadersSetterConfig
from heliograph.net.credentials import CredentialFile

Source = Callable[[Context], str]
_INVALID_ARGUMENT = 3


class HeadersSetter:
    """A HeaderEditor."""

    def __init__(self, settings: Settings, config: HeadersSetterConfig) -> None:
        self._name = f"extension {settings.id}"
        self._log = settings.telemetry.log
        self._config = config
        self._actions: list[tuple[str, str, Source]] = []
        self._other: ClientAuth | None = None

    async def start(self, host: Host) -> None:
        """Read files, find the other authenticator. Raises StartError."""
        if self._config.additional_auth is not None:
            self._other = host.extension(self._config.additional_auth, ClientAuth)  # type: ignore[type-abstract]
        try:
            self._actions = [
                (header.action or "upsert", header.header.lower(), self._source(header, host))
                for header in self._config.headers
            ]
        except StartError as error:
            raise StartError(f"{self._name}: {error}") from None

    async def shutdown(self, deadline: float) -> None:
        """Nothing to stop."""

    @property
    def needs_tls(self) -> bool:
        """Whether these headers are a secret: only those of the other authenticator are."""
        if isinstance(self._other, HeaderEditor):
            return self._other.needs_tls
        return self._other is not None

    async def headers(self, context: Context) -> Mapping[str, str]:
        """What is set on a request without headers."""
        return await self.edit({}, context)

    async def edit(self, headers: Mapping[str, str], context: Context) -> dict[str, str]:
        """All actions in turn. Raises Permanent."""
        edited = await with_credentials(self._other, headers, context)
        for action, name, source in self._actions:
            if action == "delete":
                edited.pop(name, None)
            elif action == "upsert" or (action == "update") == (name in edited):
                edited[name] = source(context)
        return edited

    def _source(self, header: HeaderConfig, host: Host) -> Source:
        default = f"{header.default_value:s}"
        if header.value is not None:
            value = f"{header.value:s}"
            return lambda _: value
        if header.value_file is not None:
            file = CredentialFile("value_file", header.value_file, host.clock, self._log)
            return lambda _: file.text().strip()
        if header.from_attribute is not None:
            attribute = header.from_attribute
            return lambda context: context.auth.get(attribute, default)
        name = (header.from_context or "").lower()

        def sent(context: Context) -> str:
            values = context.metadata.get(name, ())
            if len(values) > 1:
                raise Permanent(
                    f"{self._name}: {len(values)} values of {name!r} came with the data, one was expected",
                    _INVALID_ARGUMENT,
                )
            return values[0] if values else default

        return sent
