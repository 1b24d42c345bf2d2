"""Which kinds a server has: a kind that it does not know would be asked for in vain for ever.

Source: Kubernetes API concepts, "API discovery": GET /api/v1 and /apis/<group>/<version> answer an APIResourceList.
"""

import msgspec

from heliograph.kubernetes.client import ApiClient
from heliograph.kubernetes.errors import ApiError, BadAnswer

_NOT_FOUND = 404
_DENIED = (401, 403)


class _Resource(msgspec.Struct):
    name: str = ""


class _List(msgspec.Struct):
    resources: list[_Resource] | None = None


async def served(client: ApiClient, api: str) -> frozenset[str] | None:
    """The plurals below "/api/v1" or "/apis/<group>/<version>"; none when the server has no such group; None when it
    does not tell. Raises ApiError when it cannot be asked now."""
    try:
        body = await client.body(api, {}, "application/json")
    except ApiError as error:
        if error.status == _NOT_FOUND:
            return frozenset()
        if error.status in _DENIED:
            return None
        raise
    try:
        found = msgspec.json.decode(body, type=_List).resources
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise BadAnswer(f"GET {api}: {error}") from None
    return None if found is None else frozenset(resource.name for resource in found)
