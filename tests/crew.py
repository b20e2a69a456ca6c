"""People of the tests' own, signed in, without the ceremony of signing in.

token = await crew.somebody(world, ("finance", "merchant", shop.book_id))
status, answer = await crew.call(stack.api, token, "GET", "payment_intents", account=shop.demo.merchant)
"""

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from guilder.app.environments import CONTROL, World, dsn
from guilder.core import ids
from guilder.people import principal
from guilder.platform import db

Given = tuple[str, str, UUID | None]  # role, where it reaches, of which merchant


@dataclass(frozen=True)
class Somebody:
    """A person who has signed in."""

    id: UUID
    email: str
    token: str

    @property
    def shown(self) -> str:
        return ids.show("usr", self.id)


async def somebody(world: World, *given: Given) -> Somebody:
    """A new person with these roles."""
    id = ids.new_id()
    email = f"{ids.text(id)}@guilder.test"
    token, hashed = principal.new_token(principal.PERSON)
    async with db.connected(dsn(world.settings, CONTROL)) as control:
        await control.execute("INSERT INTO people.person (id, email, name) VALUES ($1, $2, 'Somebody')", id, email)
        await control.execute(
            "INSERT INTO people.session (id, person_id, hash, expires_at) VALUES ($1, $2, $3, now() + interval '1 hour')",
            ids.new_id(), id, hashed,
        )  # fmt: skip
    made = Somebody(id, email, token)
    for role, at, merchant in given:
        await grant(world, made, role, at, merchant)
    return made


async def grant(world: World, to: Somebody, role: str, at: str = "platform", merchant: UUID | None = None) -> None:
    """Give somebody a role."""
    async with db.connected(dsn(world.settings, CONTROL)) as control:
        await control.execute(
            "INSERT INTO people.grant (id, person_id, role, at, merchant_id, given_by) VALUES ($1, $2, $3, $4, $5, 'test')",
            ids.new_id(), to.id, role, at, merchant,
        )  # fmt: skip


async def revoke(world: World, of: Somebody, role: str) -> None:
    """Take a role away."""
    async with db.connected(dsn(world.settings, CONTROL)) as control:
        await control.execute("DELETE FROM people.grant WHERE person_id = $1 AND role = $2", of.id, role)


def call(
    api: str, token: str, method: str, path: str, body: dict[str, Any] | None = None, *, account: str | None = None, **headers: str
) -> tuple[int, Any]:  # fmt: skip
    """Call `path` after /v1/ as the bearer of `token`: status and answer."""
    sent = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", **headers}
    if account is not None:
        sent["Stripe-Account"] = account
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{api}/v1/{path}", data, sent, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)
