"""Addresses of the cashier's pages.  Each ends in a keyed part: who has the link may pay, and nobody else finds the page (K4).

    /c/{env}/{ref}/{link}      a checkout session
    /pay/{env}/{ref}/{link}    a bare payment (payments.present.Face.pay_url)

`ref` is an id and its book's code, so that a page finds its book without a key.
"""

from uuid import UUID

from guilder.core import ids
from guilder.platform.environment import Env

_ABOUT = "checkout "


def show_id(livemode: bool, id: UUID) -> str:
    """'cs_test_…' or 'cs_live_…', as Stripe writes it."""
    return ids.show("cs_live" if livemode else "cs_test", id)


def read_id(livemode: bool, shown: str) -> UUID | None:
    """The UUID of what `show_id` wrote in the same mode, or None."""
    head, _, tail = shown.rpartition("_")
    return ids.parse(tail) if head == ("cs_live" if livemode else "cs_test") else None


def session_url(env: Env, book_id: UUID, id: UUID) -> str:
    """The page of a session."""
    ref = ids.mint_key(id, book_id)
    return f"{env.settings.cashier_url}/c/{env.name}/{ref}/{env.keyring.link(_ABOUT + ref)}"


def read_session_link(env: Env, ref: str, link: str) -> tuple[UUID, str] | None:
    """The session and book code that a link names; None if the link is not ours."""
    return ids.split_key(ref) if env.keyring.is_link(_ABOUT + ref, link) else None
