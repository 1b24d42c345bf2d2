"""OTLP/JSON: the protobuf JSON mapping, with trace and span ids in hexadecimal and enums as numbers.

Source: opentelemetry.io/docs/specs/otlp, "JSON Protobuf Encoding". As upstream, ids of any case are read, names in
snake_case too, enums by number or known name, and unknown fields are ignored. Only fields of the messages are looked
at: what an unknown field holds, or what a sender calls "traceId" among its attributes, is never taken for an id.
"""

import base64
import binascii
from collections.abc import Iterator
from typing import Any

import orjson

from heliograph.otlp.errors import MalformedPayload
from heliograph.otlp.messages import request_class

_ID_BYTES = {"trace_id": 16, "span_id": 8, "parent_span_id": 8}


def request_from_json(signal: str, text: bytes) -> bytes:
    """The protobuf body of an Export*ServiceRequest in JSON. Raises MalformedPayload."""
    from google.protobuf import json_format

    try:
        tree = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise MalformedPayload(f"no JSON: {error.msg}", error.pos) from None
    if not isinstance(tree, dict):
        raise MalformedPayload("the request is no JSON object")
    message = request_class(signal)()
    for node, name, kind in _scalars(tree, message.DESCRIPTOR):
        if kind.enum_type is not None:
            _check_enum(name, node[name], kind.enum_type)
        elif kind.name in _ID_BYTES and isinstance(node[name], str):
            node[name] = base64.b64encode(_id(name, node[name], _ID_BYTES[kind.name])).decode()
    try:
        json_format.ParseDict(tree, message, ignore_unknown_fields=True)
    except (json_format.ParseError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise MalformedPayload(f"no OTLP/JSON: {error}") from None
    body: bytes = message.SerializeToString()
    return body


def request_to_json(signal: str, body: bytes) -> bytes:
    """The JSON of a protobuf Export*ServiceRequest body. Raises MalformedPayload."""
    from google.protobuf import json_format
    from google.protobuf.message import DecodeError

    try:
        message = request_class(signal).FromString(body)
    except DecodeError as error:
        raise MalformedPayload(str(error)) from None
    tree = json_format.MessageToDict(message, use_integers_for_enums=True)
    for node, name, kind in _scalars(tree, message.DESCRIPTOR):
        if kind.name in _ID_BYTES:
            node[name] = base64.b64decode(node[name]).hex()
    return orjson.dumps(tree)


def _scalars(tree: Any, descriptor: Any) -> Iterator[tuple[dict[str, Any], str, Any]]:
    """(object, name in it, field descriptor) of every known field that is no message, null left out."""
    stack = [(tree, descriptor)]
    while stack:
        node, message = stack.pop()
        if isinstance(node, list):
            stack.extend((item, message) for item in node)
        elif isinstance(node, dict):
            for name, value in node.items():
                kind = message.fields_by_camelcase_name.get(name) or message.fields_by_name.get(name)
                if kind is None or value is None:
                    continue
                if kind.message_type is not None:
                    stack.append((value, kind.message_type))
                else:
                    yield node, name, kind


def _check_enum(name: str, value: Any, enum: Any) -> None:
    """A number (unknown ones are kept, as in protobuf) or a name of the enum. Raises MalformedPayload."""
    if type(value) is not int and not (isinstance(value, str) and value in enum.values_by_name):
        raise MalformedPayload(f"{name} {value!r} is neither a number nor a name of {enum.name}")


def _id(name: str, value: str, length: int) -> bytes:
    try:
        raw = binascii.unhexlify(value)
    except (binascii.Error, ValueError):
        raise MalformedPayload(f"{name} {value!r} is not hexadecimal") from None
    if raw and len(raw) != length:
        raise MalformedPayload(f"{name} {value!r} is not {length} bytes long")
    return raw
