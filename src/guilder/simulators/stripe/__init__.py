"""Stripe's API as a merchant meets it, written from its public reference.  Cards only; see docs/guide/simulators.md for what is there."""

from starlette.routing import Route

from guilder.simulators.stripe.api import Api
from guilder.simulators.stripe.channel import Stripe
from guilder.simulators.stripe.disputes import Disputes
from guilder.simulators.stripe.intents import Intents
from guilder.simulators.stripe.money import Balance, Payouts, Refunds
from guilder.simulators.stripe.page import Page
from guilder.simulators.stripe.runs import Reports

__all__ = ["Stripe", "routes"]


def routes(channel: Stripe) -> list[Route]:
    """Its API, its script for the payer's page, and what a test does to it."""
    intents = Intents(channel)
    parts = (
        intents,
        Refunds(channel, intents),
        Payouts(channel),
        Balance(channel),
        Disputes(channel),
        Reports(channel),
    )
    api = Api(channel, [operation for part in parts for operation in part.operations()])
    return [*api.routes(), *Page(channel).routes()]
