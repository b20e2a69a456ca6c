"""Every error that a caller may meet, and what it should do about it.

    GuilderError
      Rejected              the request can never succeed as it stands              -> 4xx, do not retry
        Invalid               a parameter is wrong; `param` names it                -> 400
        Unauthenticated       no key, or one that is not ours                       -> 401
        CardError             the payer's way of paying was declined                -> 402
        Forbidden             the key may not do this                               -> 403
        ApprovalRequired      others have to agree first; `approval` is what waits  -> 403
        NotFound              no such thing, or it is another merchant's            -> 404
        WrongState            not while it is in this state                         -> 400
        KeyReused             one idempotency key, two different requests           -> 400
      Busy                  nothing was done; it may succeed later                  -> 429/503, retry with the same key
        InFlight              the first request with this key is still running      -> 409
        RateLimited           too many requests                                     -> 429
      Unknown               it may have been done; ask again with the same key      -> 500

The docstring is the default message; `code` is the stable name that merchants match on; `type` is Stripe's class of error.
An error is a value: use cases return it in their result list, so that one bad item never harms its neighbours.
"""

from typing import ClassVar


class GuilderError(Exception):
    """Something went wrong."""

    status: ClassVar[int] = 500
    type: ClassVar[str] = "api_error"
    code: str | None = None

    def __init__(
        self,
        message: str | None = None,
        *,
        code: str | None = None,
        param: str | None = None,
        decline_code: str | None = None,
        details: dict[str, object] | None = None,
    ) -> None:
        self.message = message or (type(self).__doc__ or "").strip()
        self.code = code or type(self).code
        self.param = param
        self.decline_code = decline_code
        self.details = details or {}  # further members of the envelope, such as the payment_intent
        super().__init__(self.message)


class Rejected(GuilderError):
    """The request can never succeed as it stands."""

    status = 400
    type = "invalid_request_error"


class Invalid(Rejected):
    """A parameter is wrong."""

    code = "parameter_invalid"


class Unauthenticated(Rejected):
    """You did not provide an API key, or it is not valid here. Send it as `Authorization: Bearer sk_test_...`."""

    status = 401


class CardError(Rejected):
    """The payer's way of paying was declined."""

    status = 402
    type = "card_error"
    code = "card_declined"


class Forbidden(Rejected):
    """This key may not do this."""

    status = 403
    code = "insufficient_permissions"


class ApprovalRequired(Rejected):
    """This needs the approval of others first. Nothing was done yet."""

    status = 403
    code = "approval_required"


class NotFound(Rejected):
    """No such thing."""

    status = 404
    code = "resource_missing"


class WrongState(Rejected):
    """This cannot be done in the state that the thing is in."""

    code = "payment_intent_unexpected_state"


class KeyReused(Rejected):
    """This idempotency key was used before, with another request. Use a new key for a new request."""

    type = "idempotency_error"
    code = "idempotency_key_reused"


class Busy(GuilderError):
    """Too much is waiting; nothing was done. Try again with the same idempotency key."""

    status = 503
    code = "overloaded"


class InFlight(Busy):
    """A request with this idempotency key is still running. Try again shortly with the same key."""

    status = 409
    type = "idempotency_error"
    code = "idempotency_key_in_use"


class RateLimited(Busy):
    """Too many requests in a short time. Slow down and try again."""

    status = 429
    type = "rate_limit_error"
    code = "rate_limit"


class Unknown(GuilderError):
    """It may or may not have been done. Ask again with the same idempotency key: it is done at most once."""

    status = 500
    code = "outcome_unknown"
