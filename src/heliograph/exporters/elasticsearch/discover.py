"""Asking the cluster for its nodes: what `GET /_nodes/http` says, as addresses. No I/O.

Source: https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-nodes-info; nodes that are only
master-eligible are left out, as Elastic's clients do.
"""

import orjson


def addresses(body: bytes, scheme: str) -> list[str]:
    """URLs of the nodes that take requests, in the order of the answer; none when the answer is something else."""
    try:
        nodes = orjson.loads(body)["nodes"].values()
        found = [_address(node, scheme) for node in nodes if set(node.get("roles", ("data",))) != {"master"}]
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return []
    return [address for address in found if address]


def _address(node: dict[str, dict[str, str]], scheme: str) -> str:
    """`publish_address` is "ip:port" or "name/ip:port"; the name is preferred, since certificates hold names."""
    published = node.get("http", {}).get("publish_address", "")
    name, slash, address = published.partition("/")
    if not slash:
        return f"{scheme}://{published}" if published else ""
    return f"{scheme}://{name}:{address.rpartition(':')[2]}"
