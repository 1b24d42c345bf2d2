"""OTLP/JSON: the protobuf JSON mapping, with trace and span ids in hexadecimal and enums as numbers.

Source: opentelemetry.io/docs/specs/otlp, "JSON Protobuf Encoding". As upstream, ids of any case are read, names in
snake_case too, enums by name, and unknown fields are ignored.
"""

import base64
import binascii
from typing import Any

import orjson

from heliograph.otlp.errors import MalformedPayload
from heliograph.otlp.messages import request_class

_IDS = {
    "traceId": 16,
    "trace_id": 16,
    "spanId": 8,
    "span_id": 8,
    "parentSpanId": 8,
    "parent_span_id": 8,
}


def request_from_json(signal: str, text: bytes) -> bytes:
    """The protobuf body of an Export*ServiceRequest in JSON. Raises MalformedPayload."""
    from google.protobuf import json_format

    try:
        tree = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise MalformedPayload(f"no JSON: {error.msg}", error.pos) from None
    if not isinstance(tree, dict):
        raise MalformedPayload("the request is no JSON object")
    _ids_to_base64(tree)
    try:
        message = json_format.ParseDict(tree, request_class(signal)(), ignore_unknown_fields=True)
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
    _ids_to_hex(tree)
    return orjson.dumps(tree)


def _ids_to_base64(tree: Any) -> None:
    stack = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, list):
            stack.extend(node)
            continue
        if not isinstance(node, dict):
            continue
        for name, value in node.items():
            if isinstance(value, str):
                if name in _IDS:
                    node[name] = base64.b64encode(_id(name, value)).decode()
            else:
                stack.append(value)


def _id(name: str, value: str) -> bytes:
    try:
        raw = binascii.unhexlify(value)
    except (binascii.Error, ValueError):
        raise MalformedPayload(f"{name} {value!r} is not hexadecimal") from None
    if raw and len(raw) != _IDS[name]:
        raise MalformedPayload(f"{name} {value!r} is not {_IDS[name]} bytes long")
    return raw


def _ids_to_hex(tree: Any) -> None:
    stack = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, list):
            stack.extend(node)
            continue
        if not isinstance(node, dict):
            continue
        for name, value in node.items():
            if isinstance(value, str):
                if name in _IDS:
                    node[name] = base64.b64decode(value).hex()
            else:
                stack.append(value)
