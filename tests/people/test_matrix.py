"""Every call x every role x every reach, at the book of the grant, at another one, and at the platform's own: allowed or refused as the data say.

Nothing here names a call: a route that is added is in the matrix.  What is allowed is called with nothing in its body and with ids of the
other merchant's things: it may be a bad request or not found, and never somebody else's.
"""

import http.client
import json
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest

import crew
from guilder.app import domains
from guilder.app.environments import CONTROL, World, dsn
from guilder.core import ids
from guilder.platform import db
from guilder.platform.web import Route
from guilder.platform.web.call import VERSION
from stack import Shop, Stack

pytestmark = pytest.mark.anyio

REACHES = ("platform", "merchant", "own")


@dataclass(frozen=True)
class Member:
    """Somebody with one role, and what it allows."""

    role: str
    at: str
    token: str
    permissions: frozenset[str]

    def may(self, route: Route, where: str) -> bool:
        """Whether a call at 'mine', 'other' or 'platform' is allowed."""
        if route.scope is None:
            return True
        if route.platform and where != "platform":
            return False
        if route.own and route.scope in ALWAYS_OWN and (where == "platform" or self.reaches(where)):
            return True
        if route.scope not in self.permissions:
            return False
        return self.reaches(where) and (self.at != "own" or route.own)

    def reaches(self, where: str) -> bool:
        return self.role != "nobody" and (self.at == "platform" or where == "mine")


ALWAYS_OWN = ("people:read", "people:write")  # everybody may look after himself


async def roles(world: World) -> dict[str, frozenset[str]]:
    async with db.connected(dsn(world.settings, CONTROL)) as control:
        rows = await control.fetch("SELECT name, permissions FROM people.role WHERE built_in")
    return {r["name"]: frozenset(r["permissions"]) for r in rows}


async def members(world: World, mine: Shop) -> list[Member]:
    made = [Member("nobody", "merchant", (await crew.somebody(world)).token, frozenset())]
    for role, permissions in (await roles(world)).items():
        for at in REACHES:
            person = await crew.somebody(world, (role, at, None if at == "platform" else mine.book_id))
            made.append(Member(role, at, person.token, permissions))
    return made


def things(shop: Shop) -> dict[str, str]:
    """Ids of what a shop has, by prefix."""
    v1 = shop.client().v1
    customer = v1.customers.create({"name": "Somebody"})
    endpoint = v1.webhook_endpoints.create({"url": "https://example.com/hook", "enabled_events": ["*"]})
    intent = v1.payment_intents.create({"amount": 100, "currency": "cny", "customer": customer.id})
    method = v1.payment_methods.create({"type": "wechat_pay"})
    session = v1.checkout.sessions.create(
        {"mode": "payment", "success_url": "https://example.com", "line_items": [
            {"quantity": 1, "price_data": {"currency": "cny", "unit_amount": 100, "product_data": {"name": "Tea"}}}]}
    )  # fmt: skip
    paid = v1.payment_intents.create(
        {"amount": 100, "currency": "cny", "confirm": True, "payment_method": "pm_wechat_pay", "return_url": "https://example.com"}
    )  # fmt: skip
    made = [customer.id, endpoint.id, intent.id, method.id, session.id, paid.id]
    events = v1.events.list({"limit": 1}).data
    own = shop.ledger()
    return {id.rpartition("_")[0]: id for id in [*made, *(e.id for e in events)]} | {
        p: ids[0] for p, ids in own.items()
    }


class Line:
    """One connection that stays open."""

    def __init__(self, api: str) -> None:
        at = urlsplit(api)
        self._http = http.client.HTTPConnection(at.hostname or "", at.port, timeout=30)

    async def aclose(self) -> None:
        self._http.close()

    def status(self, route: Route, path: str, token: str, account: str | None) -> tuple[int, Any]:
        sent = {"Authorization": f"Bearer {token}", "Stripe-Version": VERSION}
        if account is not None:
            sent["Stripe-Account"] = account
        body = None
        if route.method == "POST":
            sent["Content-Type"], body = "application/json", "{}"
        self._http.request(route.method, path, body, sent)
        answer = self._http.getresponse()
        return answer.status, json.loads(answer.read())


def cells(route: Route, mine: Shop, other: Shop, foreign: dict[str, str]) -> Iterator[tuple[str, str | None, str]]:
    """Where it is called, and by which path."""
    path = route.path
    for name, prefix in route.prefixes.items():
        path = path.replace(f"{{{name}}}", foreign.get(prefix or "") or ids.show(prefix or "x", ids.new_id()))
    yield "mine", mine.demo.merchant, path
    yield "other", other.demo.merchant, path
    yield "platform", None, path


async def test_every_call_for_every_role_at_every_book(stack: Stack) -> None:
    mine, other = await stack.merchant("Mine"), await stack.merchant("Other")
    foreign, line = things(other), Line(stack.api)
    wrong, counted = [], 0
    async with stack.world() as world, aclosing(line):
        crowd = await members(world, mine)
        for route in domains.ROUTES:
            for where, account, path in cells(route, mine, other, foreign):
                for m in crowd:
                    status, answer = line.status(route, path, m.token, account)
                    counted += 1
                    refused = status in (401, 403)
                    # Whoever reaches the other merchant may see what is there; nobody else sees it through his own.
                    seen = status == 200 and bool(route.prefixes) and route.scope is not None and where == "mine"
                    if refused == m.may(route, where) or seen or status >= 500:
                        wrong.append(f"{m.role} at {m.at}, {where}: {route.method} {path} {status} {answer}"[:300])
    assert not wrong, "\n".join(wrong)
    assert counted == len(domains.ROUTES) * 3 * len(crowd) > 4000


async def test_every_permission_is_one_that_is_known_and_asked_for(stack: Stack) -> None:
    from guilder.people.model import PERMISSIONS

    async with stack.world() as world:
        known = await roles(world)
    asked = {r.scope for r in domains.ROUTES if r.scope is not None}
    assert asked - set(PERMISSIONS) == set()
    assert set().union(*known.values()) - set(PERMISSIONS) == set()
