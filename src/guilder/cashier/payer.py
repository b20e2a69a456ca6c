"""Who pays: what his wallet tells of him, asked once and kept in his browser alone.

    1. address        where the browser is sent: the wallet knows its owner, asks nothing, and sends it back with a code
    2. identify       the code becomes a name that holds for our application only: an openid, a buyer's number
    3. remember       sealed into a cookie of this one page, for ten minutes; nothing is stored with us before the payment needs it

The state that travels says which page it was and until when: nobody is sent back to another's.
"""

import base64
import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from guilder.cashier.device import Offer
from guilder.cashier.till import Till
from guilder.channels.model import Identifies, IdentifyPayer, State
from guilder.core import clock
from guilder.merchants import channel_accounts
from guilder.platform.crypto import Tampered
from guilder.platform.environment import Env
from guilder.platform.wire import About

COOKIE = "guilder_payer"
KEPT = timedelta(minutes=10)


class Known(msgspec.Struct, frozen=True):
    """Somebody who holds a phone, as one channel account's application calls him."""

    payer: str
    account: UUID
    until: datetime


@dataclass(frozen=True, slots=True)
class Lead:
    """A cookie to be set."""

    value: str
    path: str
    seconds: int


async def address(till: Till, offer: Offer, back_to: str) -> str | None:
    """Where the browser is to go to say who pays; None if nobody can tell."""
    account = await channel_accounts.get(till.env, offer.account_id) if offer.account_id is not None else None
    if account is None or not isinstance(account.channel, Identifies):
        return None
    return account.channel.identify_url(back_to, _state(till, clock.unix(clock.now() + KEPT)))


async def identify(till: Till, offer: Offer, code: str, state: str) -> Known | None:
    """Who came back with `code`; None if the wallet does not say, or he did not leave from here just now."""
    until, _, _ = state.partition("x")
    if not until.isdigit() or len(until) > 12 or not hmac.compare_digest(_state(till, int(until)), state):
        return None
    if int(until) < clock.unix(clock.now()) or not code or offer.account_id is None:
        return None
    account = await channel_accounts.get(till.env, offer.account_id)
    if account is None:
        return None
    about = About(till.book_id, account.id, account.info.code, "identify", till.intent_id)
    outcome = await till.env.wire.carry_out(account.channel.ask(IdentifyPayer(code)), about)
    if outcome.state is not State.SUCCEEDED or not outcome.payer:
        return None
    return Known(outcome.payer, account.id, clock.now() + KEPT)


def remember(till: Till, known: Known) -> Lead:
    """What his browser keeps of it."""
    sealed = till.env.keyring.seal(msgspec.json.encode(known), _about(till.env, till.path))
    return Lead(base64.urlsafe_b64encode(sealed).decode(), till.path, int(KEPT.total_seconds()))


def recall(till: Till, cookie: str | None, offer: Offer) -> str | None:
    """Who pays, if his browser says so and it was for this page and this account."""
    if not cookie or len(cookie) > 4096:
        return None
    try:
        opened = till.env.keyring.open(base64.urlsafe_b64decode(cookie), _about(till.env, till.path))
        known = msgspec.json.decode(opened, type=Known)
    except (ValueError, Tampered):
        return None
    return known.payer if known.until > clock.now() and known.account == offer.account_id else None


def _state(till: Till, until: int) -> str:
    """Letters and digits only: WeChat takes no others."""
    link = till.env.keyring.link(f"payer {until} {till.path}")
    return f"{until}x{hashlib.sha256(link.encode()).hexdigest()[:40]}"


def _about(env: Env, path: str) -> str:
    return f"cashier.payer/{env.name}{path}"
