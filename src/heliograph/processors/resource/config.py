"""Keys of the `resource` processor, as upstream's."""

from collections.abc import Iterator
from dataclasses import dataclass

from heliograph.component.config import key
from heliograph.processors.attribute_action import AttributeAction


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceConfig:
    """Changes the attributes of resources."""

    attributes: list[AttributeAction] = key(list, "Actions, applied in this order.")

    def check(self) -> Iterator[tuple[str, str]]:
        if not self.attributes:
            yield "attributes", "at least one action is needed"
