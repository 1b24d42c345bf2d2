"""Single objects of the Kubernetes API, for the detectors that need one or two of them."""

from types import TracebackType
from typing import Any

from heliograph.component.clock import SystemClock
from heliograph.component.errors import StartError
from heliograph.kubernetes.access import AuthType, access
from heliograph.kubernetes.client import ApiClient
from heliograph.kubernetes.errors import ApiError
from heliograph.processors.resource_detection.asking import Asker, fields
from heliograph.processors.resource_detection.detected import Absent, DetectionError, Unavailable

KUBERNETES = "KUBERNETES_SERVICE_HOST"


class ClusterApi:
    """Use with `async with`. Raises Absent when it wants a service account and this is no pod."""

    def __init__(self, asker: Asker, auth_type: AuthType = "serviceAccount", context: str = "") -> None:
        if auth_type != "kubeConfig" and not asker.environ.get(KUBERNETES):
            raise Absent(f"{KUBERNETES} is not set: this is no pod")
        asker.found = True
        try:
            found = access(auth_type, context, asker.environ, asker.service_account)
        except StartError as error:
            raise DetectionError(str(error)) from None
        self._client = ApiClient(found, SystemClock())

    async def __aenter__(self) -> "ClusterApi":
        self._client.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.close()

    async def get(self, path: str, missing: tuple[int, ...] = ()) -> dict[str, Any] | None:
        """The object; None when the status is one of `missing`. Raises DetectionError."""
        try:
            body = await self._client.body(path, {}, "application/json")
        except ApiError as error:
            if error.status in missing:
                return None
            soon = error.status in (0, 429) or error.status >= 500
            raise (Unavailable if soon else DetectionError)(str(error)) from None
        return fields(body.decode("utf-8", "replace"), f"GET {path}")

    async def cluster_uid(self) -> str | None:
        """The uid of kube-system, which stands for the cluster's; None without the right to read it."""
        found = await self.get("/api/v1/namespaces/kube-system", (401, 403))
        return None if found is None else uid(found)


def uid(found: dict[str, Any]) -> str:
    """metadata.uid. Raises DetectionError when there is none."""
    metadata = found.get("metadata")
    value = metadata.get("uid") if isinstance(metadata, dict) else None
    if not isinstance(value, str) or not value:
        raise DetectionError("the answer of the API server has no metadata.uid")
    return value
