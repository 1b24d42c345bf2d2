"""How a resource names its pod, and by which names a pod is found.

An identifier is the flat tuple of (attribute name or "" for the connection, value) of one rule. The first rule whose
sources are all there decides, whether its pod is known or not, as in upstream. Without rules the address alone counts:
k8s.pod.ip, ip, the peer's, a host.name that is an address.

Addresses are used again. So a pod that has ended or was deleted is not found by its address, nor is one in the host's
network by an address alone: where upstream may take another pod for it, here nothing is added.
"""

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_address

from heliograph.processors.k8s_attributes.config import AssociationConfig
from heliograph.processors.k8s_attributes.pod import Pod

Identifier = tuple[str, ...]
CONNECTION = ""
_ADDRESSES = frozenset({CONNECTION, "host.name", "k8s.pod.ip"})


class Associations:
    """The rules of one configuration, each a tuple of source names."""

    def __init__(self, rules: Sequence[AssociationConfig]) -> None:
        self.rules = tuple(
            tuple(CONNECTION if source.origin == "connection" else source.name for source in rule.sources)
            for rule in rules
        )
        self.by_peer = not self.rules or any(CONNECTION in rule for rule in self.rules)

    def identify(self, attributes: Mapping[str, object], peer: str) -> Identifier:
        """The identifier of a resource, () when it names no pod."""
        if not self.rules:
            for name in ("k8s.pod.ip", "ip"):
                value = attributes.get(name)
                if value and isinstance(value, str):
                    return (CONNECTION, value)
            host = attributes.get("host.name")
            address = peer or (host if isinstance(host, str) and _is_address(host) else "")
            return (CONNECTION, address) if address else ()
        for rule in self.rules:
            found: list[str] = []
            for name in rule:
                value = peer if name == CONNECTION else attributes.get(name)
                if not value or not isinstance(value, str) or (name == "host.name" and not _is_address(value)):
                    break
                found += (name, value)
            else:
                return tuple(found)
        return ()

    def of(self, pod: Pod) -> Iterator[Identifier]:
        """The identifiers by which a pod is found."""
        for rule in self.rules or ((CONNECTION,),):
            if rule and not (pod.host_network and (CONNECTION in rule or _ADDRESSES.issuperset(rule))):
                yield from _identifiers(pod, rule)

    @staticmethod
    def reusable(identifier: Identifier) -> bool:
        """Whether another pod may get the same one: it has an address in it."""
        return not _ADDRESSES.isdisjoint(identifier[::2])


def _identifiers(pod: Pod, rule: tuple[str, ...]) -> Iterator[Identifier]:
    for container_id in list(pod.container_ids) if "container.id" in rule else [""]:
        found: list[str] = []
        for name in rule:
            value = container_id if name == "container.id" else _value(pod, name)
            if not value:
                break
            found += (name, value)
        else:
            yield tuple(found)


def _value(pod: Pod, name: str) -> str:
    match name:
        case "" | "host.name" | "k8s.pod.ip":
            return pod.address
        case "k8s.namespace.name":
            return pod.namespace
        case "k8s.pod.name":
            return pod.name
        case "k8s.pod.uid":
            return pod.uid
    return pod.late.get(name) or pod.early.get(name) or _owned(pod, name)


def _owned(pod: Pod, name: str) -> str:
    """k8s.<owner>.name or .uid of an owner."""
    _, _, rest = name.partition("k8s.")
    kind, _, what = rest.partition(".")
    owner = pod.owners.get(kind)
    return "" if owner is None or what not in ("name", "uid") else owner[what == "uid"]


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
