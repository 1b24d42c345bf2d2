"""Which kinds a server has, and in which version each: its preferred one, as clients of the API find it.

Asked for at once (aggregated discovery, Kubernetes 1.30) or, of an older server, group by group. A group that does not
answer (an aggregated API whose server is away) is left out, and the others are there.
Source: Kubernetes API concepts, "API discovery"; ServerPreferredResources of k8s.io/client-go/discovery.
"""

from dataclasses import dataclass
from typing import Any

import msgspec

from heliograph.kubernetes.client import ApiClient
from heliograph.kubernetes.errors import ApiError, BadAnswer

_JSON = "application/json"
_AGGREGATED = f"{_JSON};g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,{_JSON}"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of object. group: "" for the core's. plural: as in paths."""

    group: str
    version: str
    plural: str


async def preferred(client: ApiClient) -> list[Kind]:
    """All kinds, the core's first, each in its group's preferred version or the first other one that has it. Raises
    ApiError."""
    found: list[Kind] = []
    for path in ("/api", "/apis"):
        answer = await _get(client, path, _AGGREGATED)
        try:
            if answer.get("kind") == "APIGroupDiscoveryList":
                groups = [_aggregated(item) for item in answer.get("items") or ()]
            else:
                groups = await _one_by_one(client, answer)
        except (AttributeError, KeyError, TypeError) as error:
            raise BadAnswer(f"GET {path}: the answer has another form than discovery: {error!r}") from None
        for group, versions in groups:
            known: dict[str, Kind] = {}
            for version, plurals in versions:
                for plural in plurals:
                    if "/" not in plural:
                        known.setdefault(plural, Kind(group, version, plural))
            found += known.values()
    return found


Group = tuple[str, list[tuple[str, list[str]]]]


def _aggregated(item: Any) -> Group:
    versions = [
        (str(version["version"]), [str(resource["resource"]) for resource in version.get("resources") or ()])
        for version in item.get("versions") or ()
    ]
    return str(item["metadata"].get("name") or ""), versions


async def _one_by_one(client: ApiClient, answer: Any) -> list[Group]:
    if "groups" not in answer:
        return [("", [(version, await _plurals(client, f"/api/{version}")) for version in answer["versions"]])]
    groups: list[Group] = []
    for item in answer["groups"]:
        best = item.get("preferredVersion", {}).get("version", "")
        names = sorted((str(version["version"]) for version in item["versions"]), key=lambda name: name != best)
        listed = [(name, await _plurals(client, f"/apis/{item['name']}/{name}")) for name in names]
        groups.append((str(item["name"]), listed))
    return groups


async def _plurals(client: ApiClient, path: str) -> list[str]:
    try:
        answer = await _get(client, path, _JSON)
    except ApiError as error:
        if error.status in (404, 503):
            return []
        raise
    return [str(resource["name"]) for resource in answer.get("resources") or ()]


async def _get(client: ApiClient, path: str, accept: str) -> Any:
    body = await client.body(path, {}, accept)
    try:
        return msgspec.json.decode(body)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise BadAnswer(f"GET {path}: {error}") from None
