"""The processor: only the small Resource of each part is read and written, and the result is remembered by its bytes.

With an action that depends on the request (`from_context`) nothing is remembered.
"""

from collections.abc import Callable
from typing import Any

from heliograph.component.batch import Batch
from heliograph.component.factory import Settings
from heliograph.component.lifecycle import Host
from heliograph.otlp.edit import Delete, Lookup, Put
from heliograph.otlp.pairs import WireAttributes
from heliograph.otlp.resource import ResourceEditor, resource_of, with_resource
from heliograph.processors.attribute_action import lookup, no_lookup, uses_context
from heliograph.processors.resource.config import ResourceConfig


class ResourceProcessor:
    """Component and Consumer."""

    def __init__(self, settings: Settings, config: ResourceConfig) -> None:
        assert settings.signal is not None
        self._next = settings.outputs[settings.signal]
        self._actions = [action.compile() for action in config.attributes]
        self._edit = self._edit_bytes
        if not all(isinstance(action, Put | Delete) for action in self._actions):
            from opentelemetry.proto.resource.v1.resource_pb2 import Resource

            self._parse: Callable[[bytes], Any] = Resource.FromString
            self._edit = self._edit_message
        self._editor = None if uses_context(config.attributes) else ResourceEditor(self._edit_alone)

    async def start(self, host: Host) -> None:
        """Nothing to get ready."""

    async def shutdown(self, deadline: float) -> None:
        """Nothing is held here."""

    async def consume(self, batch: Batch) -> None:
        """Edit the resources and hand on."""
        editor = self._editor
        if editor is not None:
            parts = [editor.apply(part) for part in batch.parts]
        else:
            find = lookup(batch.context)
            parts = [with_resource(part, self._edit(resource_of(part), find)) for part in batch.parts]
        await self._next.consume(batch.with_parts(parts))

    def _edit_alone(self, resource: bytes) -> bytes:
        return self._edit(resource, no_lookup)

    def _edit_bytes(self, resource: bytes, find: Lookup) -> bytes:
        attributes = WireAttributes(resource)
        for action in self._actions:
            action.apply(attributes, find)
        return attributes.resource()

    def _edit_message(self, resource: bytes, find: Lookup) -> bytes:
        message = self._parse(resource)
        for action in self._actions:
            action.apply(message.attributes, find)
        edited: bytes = message.SerializeToString()
        return edited
