"""The API's front door: Stripe's dialect over Starlette, typed by msgspec.

    class CreateIntent(Params):
        amount: Units
        currency: Currency
        metadata: Metadata | UnsetType | None = UNSET
        REFUSED: ClassVar[Refusals] = {"application_fee_amount": "fees follow the merchant's plan."}

    @route("POST", "/v1/payment_intents", scope="payments:write", body=CreateIntent, answer=PaymentIntent)
    async def create_payment_intent(call: Call, body: CreateIntent) -> PaymentIntent | Answer:
        '''Create a PaymentIntent.  The docstring is the reference's text.'''

    from guilder.platform.web.app import build        # not here: a process that serves nothing need not load it
    app = build([create_payment_intent, ...], authenticate=authenticate, resources=[Resource("ch", Charge, load_charges)])

What the layer sees to, so that no domain does: keys and scopes, the dialect's headers, forms and JSON by declared type,
errors as the SDKs expect them, pages, expand, bounds on everything, and the OpenAPI document.  What it leaves: idempotency
(a call only carries its key and fingerprint) and every rule of business.
"""

from guilder.platform.web.answer import Listing, encode, listing, render_error
from guilder.platform.web.call import VERSION, Answer, Call, Principal, api_key
from guilder.platform.web.expand import Resource, expands
from guilder.platform.web.params import (
    CreatedRange,
    Currency,
    ListParams,
    Metadata,
    Params,
    Refusals,
    Secret,
    Text,
    Units,
    UnixTime,
    Url,
    id_of,
    merge_metadata,
)
from guilder.platform.web.route import Route, route

__all__ = [
    "VERSION",
    "Answer",
    "Call",
    "CreatedRange",
    "Currency",
    "ListParams",
    "Listing",
    "Metadata",
    "Params",
    "Principal",
    "Refusals",
    "Resource",
    "Route",
    "Secret",
    "Text",
    "Units",
    "UnixTime",
    "Url",
    "api_key",
    "encode",
    "expands",
    "id_of",
    "listing",
    "merge_metadata",
    "render_error",
    "route",
]
