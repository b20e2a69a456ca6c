"""The counter: one code for all wallets.  Whoever opens it pays there: what the till presents, or what he says himself.

find      the store or till that a code names, and what its till presents
begin     a payment of an amount that the payer has said; pressed twice it is one payment
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import msgspec

from guilder.core import clock, ids
from guilder.core.errors import Invalid
from guilder.merchants import books, channel_accounts, counter_links, stores
from guilder.merchants.books import Owner
from guilder.merchants.channel_accounts import ChannelAccount
from guilder.merchants.model_stores import Place, Store, Terminal
from guilder.payments import ways
from guilder.payments.create import CREATE, NewIntent
from guilder.payments.model import Intent
from guilder.payments.present import Face
from guilder.payments.states import IntentStatus
from guilder.platform import context
from guilder.platform.environment import Env
from guilder.platform.idempotency import Asked, Key
from guilder.platform.sql import load

Q = load(__package__)
LIFE = timedelta(minutes=15)  # of a payment that was begun at a counter
_id_of = msgspec.json.Decoder(type=dict[str, Any]).decode


@dataclass(frozen=True, slots=True)
class Counter:
    """A store's or till's code, opened."""

    env: Env
    owner: Owner
    place: Place
    path: str  # of the page, without a query
    accounts: list[ChannelAccount]
    presented: str | None = None  # the page of the payment that its till presents

    @property
    def currency(self) -> str:
        return self.place.store.currency

    @property
    def types(self) -> list[str]:
        """The ways to pay that the merchant has."""
        return ways.offered(self.accounts, self.currency)

    @property
    def plate(self) -> str:
        """What the code says."""
        id = self.place.terminal.id if self.place.terminal is not None else self.place.store.id
        return counter_links.url(self.env, self.owner.book_id, id)


async def find(env: Env, ref: str, link: str) -> Counter | None:
    """What a code names; None if it is none of ours, or takes no payments now."""
    named = counter_links.read_link(env, ref, link)
    owner = await books.owner_of(env, named[1]) if named is not None else None
    if named is None or owner is None:
        return None
    return await of(env, owner.book_id, named[0])


async def of(env: Env, book_id: UUID, id: UUID) -> Counter | None:
    """The counter of a store or till; None if there is none, or it takes no payments now."""
    owner = await books.owner_of(env, ids.book_code(book_id))
    terminal = await stores.find(env.db, Terminal, book_id, id)
    store = await stores.find(env.db, Store, book_id, terminal.store_id if terminal is not None else id)
    if owner is None or store is None or not store.enabled or (terminal is not None and not terminal.enabled):
        return None
    accounts = await channel_accounts.of_merchant(env, owner.book_id)
    path = urlsplit(counter_links.url(env, book_id, id)).path
    return Counter(env, owner, Place(store, terminal), path, accounts, await _presented(env, terminal))


async def _presented(env: Env, terminal: Terminal | None) -> str | None:
    """The page of what a till presents, while it can be paid."""
    if terminal is None or terminal.presented_id is None or terminal.presented_until is None:
        return None
    if terminal.presented_until <= clock.now():
        return None
    status = await env.db.value(Q.status_of_payment, terminal.book_id, terminal.presented_id)
    over = status in (None, IntentStatus.SUCCEEDED, IntentStatus.CANCELED)
    return None if over else Face(env).pay_url(terminal.book_id, terminal.presented_id)


async def begin(at: Counter, units: int, nonce: str, request_id: str) -> str:
    """The page of a new payment.  Raises Invalid, and what the lane raises."""
    if not at.types:
        raise Invalid("This merchant has no way to take payments here.", code="payment_method_unactivated")
    root_id = ids.new_id()
    by = context.carry_on(
        root_id, request_id=request_id, business_line=at.owner.business_line, book_id=at.owner.book_id, actor="payer", env=at.env.name
    )  # fmt: skip
    intent = payment(
        at.owner.book_id, units, at.currency, at.types, at.place, late_success=at.owner.late_success, root_id=root_id,
        business_line=at.owner.business_line, expires_s=LIFE.total_seconds(),
    )  # fmt: skip
    key = Key(at.owner.book_id, f"\ncounter {at.path[-60:]} {nonce}", str(units).encode(), request_id)
    with context.use(by):
        reply = await at.env.lane(CREATE).submit(Asked(key, NewIntent(intent, by, Face(at.env))), at.owner.book_id)
    made = ids.read("pi", _id_of(reply.body).get("id", "")) or intent.id
    return Face(at.env).pay_url(at.owner.book_id, made)


def payment(
    book_id: UUID, units: int, currency: str, types: list[str], place: Place, *, late_success: str, root_id: UUID, business_line: str,
    expires_s: float, description: str | None = None, metadata: Mapping[str, str] | None = None,
    extra: dict[str, Any] | None = None,
) -> Intent:  # fmt: skip
    """A payment at a counter, in memory only.  Channels show what it is for: the store, unless something is said."""
    now = clock.now()
    return Intent(
        book_id, ids.new_id(), 0, IntentStatus.REQUIRES_PAYMENT_METHOD, units, currency, None, None, None, types, None, None,
        description or place.store.name, dict(metadata or {}), extra or {}, None, None, None, None, None,
        (now + timedelta(seconds=expires_s)).replace(microsecond=0), late_success, root_id, business_line, now, "counter", None, *place.ids,
    )  # fmt: skip
