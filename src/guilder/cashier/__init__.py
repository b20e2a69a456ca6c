"""The cashier: the page where a payer pays, and the sessions that open it.

    ROUTES, RESOURCES   /v1/checkout/sessions, and tills that take money         (API)
    SUBSCRIPTIONS       a payment that ends completes or expires its session     (worker)
    CATALOGUE           the events that are said of sessions
    pages.pages(envs)   the pages themselves                                     (cashier process)

Invariants.  Tests carry these names (`test_K1_...`).

    K1  A session and its payment come to be in one commit, and belong to each other for ever.
    K2  A session is what its payment is: complete when that succeeded, expired when that was canceled, else open.
    K3  Each turn of a session is said once, in an event: completed, expired, or paid after it had expired.
    K4  A page is found by its link alone, and the link cannot be guessed.  It shows one payment and changes no other.
    K5  The page never says "paid" before the payment has succeeded, nor "failed" while its outcome is unknown.
    K6  However many pages are open, their payments are looked at in one query a tick.

The page works without JavaScript: forms, redirects and a refresh.  A small script of our own makes it live.
"""

from guilder.cashier import api, api_terminals
from guilder.cashier.api import RESOURCES
from guilder.cashier.events import CATALOGUE
from guilder.cashier.follow import SUBSCRIPTIONS

ROUTES = (*api.ROUTES, *api_terminals.ROUTES)

__all__ = ["CATALOGUE", "RESOURCES", "ROUTES", "SUBSCRIPTIONS"]
