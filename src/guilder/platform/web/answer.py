"""Answers as bytes: structs, lists, and the error envelope that every SDK expects.

{"error": {"type": "invalid_request_error", "code": "parameter_missing", "param": "amount", "message": "Missing ..."}}
"""

from collections.abc import Callable
from typing import Any, Generic, Literal, TypeVar

import msgspec

from guilder.core.errors import Busy, GuilderError, Rejected
from guilder.core.page import Page
from guilder.platform.web.call import Answer, Call

T = TypeVar("T")
R = TypeVar("R")

_encoder = msgspec.json.Encoder()
encode = _encoder.encode  # any answer as bytes


class Listing(msgspec.Struct, Generic[T], kw_only=True):
    """One page of things, newest first; the SDKs page on with `starting_after` while `has_more`."""

    object: Literal["list"] = "list"
    data: list[T]
    has_more: bool
    url: str


def listing(call: Call, page: Page[R], present: Callable[[R], T]) -> Listing[T]:
    """A page of rows as the API shows it."""
    return Listing(data=[present(row) for row in page.items], has_more=page.has_more, url=call.target)


class ErrorBody(msgspec.Struct, omit_defaults=True):
    """What went wrong.  `code` is stable and meant for programs, `message` for people."""

    type: str
    message: str
    code: str | None = None
    param: str | None = None
    decline_code: str | None = None
    payment_intent: dict[str, Any] | None = None
    approval: dict[str, Any] | None = None  # what is open now, with approval_required


class ErrorEnvelope(msgspec.Struct):
    """Every answer that is not 2xx."""

    error: ErrorBody


def render_error(error: GuilderError) -> Answer:
    """The envelope of `error`.  Its bytes name no request, so that they can be stored and replayed."""
    body: dict[str, object] = {"type": error.type, "message": error.message}
    for name in ("code", "param", "decline_code"):
        if (value := getattr(error, name)) is not None:
            body[name] = value
    body.update(error.details)
    headers = {}
    if isinstance(error, Busy):
        headers["Stripe-Should-Retry"] = "true"
    elif isinstance(error, Rejected):
        headers["Stripe-Should-Retry"] = "false"
    if error.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="Guilder"'
    return Answer(error.status, encode({"error": body}), headers)
