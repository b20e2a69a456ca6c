"""What payments keep of persons: where to send a receipt and goods, and whom a way to pay is billed to."""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from guilder.core import clock, ids
from guilder.core.errors import NotFound, WrongState
from guilder.merchants.kept import Blanked, Kept, Part, Person
from guilder.payments import present, present_method, store
from guilder.payments.model import Intent, Method
from guilder.platform.db import Database, Tx
from guilder.platform.sql import load

Q = load(__package__)


async def book_of(db: Database, payment_id: UUID) -> UUID | None:
    """Whose payment it is, for the operator's command line: it reads every book."""
    return await db.value(Q.find_book_of_intent, payment_id)


async def payments_of(tx: Tx, who: Person) -> list[UUID]:
    """A customer's payments, or the one.  Raises NotFound, and WrongState if that is a customer's."""
    found = await _intents(tx, who)
    if not who.customer and not found:
        raise NotFound(f"No such payment_intent: '{who.shown}'", param="id")
    if not who.customer and (customer := found[0].customer_id) is not None:
        raise WrongState(
            f"{who.shown} is a payment of {ids.show('cus', customer)}: the person is the customer.",
            code="payment_of_a_customer",
        )
    return [i.id for i in found]


async def tell(tx: Tx, who: Person) -> list[Kept]:
    """Each payment with what it says of who pays, its charge and refunds, and the ways to pay."""
    intents = await _intents(tx, who)
    keys = [i.key for i in intents]
    charges, refunds = await store.charges(tx, keys), await store.refunds(tx, keys)
    kept = [_kept("payments.intent", "pi", i.id, i, **_personal(i)) for i in intents]
    kept += [
        _kept("payments.charge", "ch", c.id, c, payment_intent=ids.show("pi", c.intent_id)) for c in charges.values()
    ]
    kept += [
        _kept("payments.refund", "re", r.id, r, payment_intent=ids.show("pi", r.intent_id)) for r in refunds.values()
    ]
    for m in await _methods(tx, who):
        fields = {
            "type": m.type,
            "created": clock.unix(m.created_at),
            "billing_details": m.billing,
            "metadata": m.metadata,
        }
        kept.append(Kept(where="payments.method", id=ids.show("pm", m.id), fields=fields))
    return kept


async def blank(tx: Tx, who: Person) -> Blanked:
    """Blank it.  Amounts, states and what the merchant wrote (description, metadata) stay."""
    intents = [r["id"] for r in await tx.rows(Q.blank_intents, who.book_id, list(who.payments))]
    tried = [r["intent_id"] for r in await tx.rows(Q.blank_attempts, who.book_id, list(who.payments))]
    intents = list(dict.fromkeys([*intents, *tried]))
    wanted = [m.id for m in await _methods(tx, who)]
    methods = [r["id"] for r in await tx.rows(Q.blank_methods, who.book_id, wanted)]
    shown = [*_shown("pi", intents), *_shown("pm", methods)]
    return Blanked({"payments": len(intents), "payment_methods": len(methods)}, shown)


async def _intents(tx: Tx, who: Person) -> list[Intent]:
    return [store.intent_of(r) for r in await tx.rows(Q.find_intents_of_person, who.book_id, who.id)]


async def _methods(tx: Tx, who: Person) -> list[Method]:
    rows = await tx.rows(Q.find_methods_of_persons, who.book_id, who.persons, list(who.payments))
    return [store.method_of(r) for r in rows]


def _personal(i: Intent) -> dict[str, Any]:
    said = {name: i.extra.get(name) for name in present.PERSONAL["payment_intent"]}
    return {"status": i.status.value, "description": i.description, "metadata": i.metadata, **said}


def _kept(where: str, prefix: str, id: UUID, about: Any, **fields: Any) -> Kept:
    money = {"amount": about.amount, "currency": about.currency.lower(), "created": clock.unix(about.created_at)}
    return Kept(where=where, id=ids.show(prefix, id), fields=money | fields)


def _shown(prefix: str, found: Iterable[UUID]) -> Sequence[str]:
    return [ids.show(prefix, id) for id in found]


PART = Part(tell, blank, present.PERSONAL | present_method.PERSONAL)
