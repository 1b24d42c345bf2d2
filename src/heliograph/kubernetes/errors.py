"""What can go wrong between this process and the Kubernetes API, and what to do about it."""

from collections.abc import Iterable

from heliograph.component.errors import HeliographError


class ApiError(HeliographError):
    """A request failed. status: of HTTP, 0 when there was no answer. after: seconds that the server asked to wait."""

    def __init__(self, message: str, status: int = 0, after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.after = after


class BadAnswer(ApiError):
    """The answer is not what the API promises: no JSON of that shape, or longer than any object can be."""


class Untrusted(ApiError):
    """The server's certificate is not that of somebody whom this process trusts."""


def rule(group: str, plural: str, namespace: str, verbs: Iterable[str]) -> str:
    """The rule of RBAC that a refused request needs, for messages."""
    role = f"a Role in the namespace {namespace!r}" if namespace else "a ClusterRole"
    listed = ", ".join(f'"{verb}"' for verb in verbs)
    return f'add to {role}: apiGroups: ["{group}"], resources: ["{plural}"], verbs: [{listed}]'
