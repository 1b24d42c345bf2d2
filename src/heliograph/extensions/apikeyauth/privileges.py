"""Asking Elasticsearch whether a key has privileges: the request, and what the answer means. No I/O.

With application privileges `POST /_security/user/_has_privileges` is asked. Without any that API refuses the question;
then `GET /_security/_authenticate` says whether the key is valid at all.
Source: Elasticsearch's API reference, "Check user privileges" and "Authenticate a user".
"""

from collections.abc import Mapping, Sequence

import orjson

from heliograph.component.auth import PermissionDenied, Unauthenticated
from heliograph.component.errors import Permanent, Retryable
from heliograph.extensions.apikeyauth.config import ApplicationPrivileges
from heliograph.extensions.apikeyauth.verdicts import Verdict

HAS_PRIVILEGES = "/_security/user/_has_privileges"
AUTHENTICATE = "/_security/_authenticate"
TRANSIENT = frozenset((429, 502, 503, 504))
"""Statuses after which the same question may be answered."""
_INVALID_ARGUMENT = 3
_MOST_RESOURCES = 100


def question(wanted: Sequence[ApplicationPrivileges], headers: Mapping[str, tuple[str, ...]]) -> bytes:
    """The body of a has-privileges request. Raises Permanent when a header is missing that names a resource."""
    applications = []
    for application in wanted:
        resources = list(application.resources)
        for dynamic in application.dynamic_resources:
            values = headers.get(dynamic.metadata.lower(), ())
            if not values:
                raise Permanent(
                    f"missing client metadata {dynamic.metadata!r} required for dynamic resource", _INVALID_ARGUMENT
                )
            if len(values) > _MOST_RESOURCES:
                raise Permanent(f"more than {_MOST_RESOURCES} values of {dynamic.metadata!r}", _INVALID_ARGUMENT)
            resources.extend(dynamic.resource(value) for value in values)
        applications.append(
            {"application": application.application, "privileges": application.privileges, "resources": resources}
        )
    try:
        return orjson.dumps({"application": applications})
    except orjson.JSONEncodeError:
        raise Permanent("a header that names a resource is no UTF-8", _INVALID_ARGUMENT) from None


def read_answer(status: int, body: bytes, key_id: str) -> Verdict:
    """What an answer means for the sender. Raises Retryable when it says nothing about the key."""
    if status in (401, 403):
        return Verdict(refusal=Unauthenticated, message="the API key is not valid")
    if status != 200:
        raise Retryable(f"Elasticsearch answers {status} to the question about the API key{_reason(body)}")
    try:
        answer = orjson.loads(body)
        allowed, user = answer.get("has_all_requested", True), str(answer["username"])
    except (orjson.JSONDecodeError, KeyError, AttributeError):
        raise Retryable("what answers at endpoint is not Elasticsearch") from None
    if allowed is not True:
        return Verdict(refusal=PermissionDenied, message="the API key lacks a privilege that this endpoint asks for")
    return Verdict({"username": user, "api_key": key_id})


def _reason(body: bytes) -> str:
    try:
        return f": {str(orjson.loads(body)['error']['reason'])[:200]}"
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return ""
