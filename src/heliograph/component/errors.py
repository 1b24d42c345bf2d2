"""The tree of errors.

    HeliographError
      ConfigError          the configuration is wrong; nothing was started           exit code 1
      StartError           a component could not start                               exit code 1
      DeliveryError        data could not be handed on                    gRPC status        HTTP
        Retryable          later it may work: the sender keeps the data   UNAVAILABLE        503
          Overloaded       no room now: queue full, memory limit          RESOURCE_EXHAUSTED 429
        Permanent          it never will                                  see Permanent.code
    MalformedPayload       (otlp.errors) bytes that are no OTLP           INVALID_ARGUMENT   400

Each message says who, what, the value and the next step. Foreign exceptions are translated where they enter
(sockets in net/, files in the component that opens them), nowhere else.
"""

from heliograph.otlp.errors import MalformedPayload

__all__ = [
    "ConfigError",
    "DeliveryError",
    "Denied",
    "HeliographError",
    "MalformedPayload",
    "Overloaded",
    "Permanent",
    "Retryable",
    "StartError",
]


class HeliographError(Exception):
    """Root of everything this program raises on purpose."""


class ConfigError(HeliographError):
    """One or more mistakes in the configuration; `str()` lists them all."""


class StartError(HeliographError):
    """A component could not start; the message names it, the cause and what to do."""


class DeliveryError(HeliographError):
    """Data was not taken. The one who raised it did not and will not call the batch's completion."""


class Retryable(DeliveryError):
    """Try again later. `after`: seconds that the other side asked for, or None."""

    def __init__(self, message: str, after: float | None = None) -> None:
        super().__init__(message)
        self.after = after


class Denied(Retryable):
    """The other side does not let this sender in, whatever the data: a key, a right or an address must be mended. The
    data is kept until then and tried every PAUSE seconds."""

    PAUSE = 10.0

    def __init__(self, message: str, mend: str) -> None:
        """mend: what to look at, for the message."""
        super().__init__(f"{message}; the data is kept meanwhile: check {mend}", self.PAUSE)


class Overloaded(Retryable):
    """There is no room now: a full queue or the memory limit. The sender keeps the data."""


class Permanent(DeliveryError):
    """It will never work. `code` is the gRPC status code to answer with (3 = INVALID_ARGUMENT,
    7 = PERMISSION_DENIED, 13 = INTERNAL, 16 = UNAUTHENTICATED)."""

    def __init__(self, message: str, code: int = 13) -> None:
        super().__init__(message)
        self.code = code
