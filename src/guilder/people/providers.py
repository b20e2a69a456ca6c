"""OpenID providers: who else may say who somebody is, and what they say of themselves.

await providers.add(env, New("work", "https://sso.example.com", "guilder", secret, ("example.com",), Link.INVITATION))
configuration = await directory.configuration(provider)
keys = await directory.keys(provider, unknown=True)     # a token names a key that is not among them: looked at anew, once a minute
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeVar
from uuid import UUID

from guilder.core import ids
from guilder.core.errors import Invalid, NotFound
from guilder.people import ask, openid
from guilder.people.openid import Configuration, ProviderUnavailable
from guilder.platform import trail
from guilder.platform.db import Conflict, Row, Tx
from guilder.platform.environment import Env
from guilder.platform.guard import Refused, check_url
from guilder.platform.sql import load

Q = load(__package__)
T = TypeVar("T")
KEPT_S = 3600.0  # what a provider says of itself
AGAIN_S = 60.0  # between two looks for a key that is not there
_NAME = re.compile(r"[a-z][a-z0-9-]{0,29}")
_DOMAIN = re.compile(r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?")


class Link(StrEnum):
    """How somebody new comes to be known by a provider."""

    INVITATION = (
        "invitation"  # by an open invitation to the e-mail address that the provider has verified; and as below
    )
    SIGNED_IN = "signed_in"  # only whoever is signed in already, and asks for it


@dataclass(frozen=True, slots=True)
class New:
    """What an operator says of a provider."""

    name: str
    issuer: str
    client_id: str
    secret: str = field(repr=False)
    domains: tuple[str, ...] = ()
    link: Link = Link.INVITATION


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider that we know."""

    id: UUID
    name: str
    issuer: str
    client_id: str
    sealed: bytes = field(repr=False)
    domains: Sequence[str]
    link: Link
    created_at: datetime

    @property
    def loopback(self) -> bool:
        """Whether it is on this machine: only then may it be asked there, and without https."""
        return is_loopback(self.issuer)


async def add(env: Env, new: New) -> UUID:
    """Ask it what it says of itself, then store it.  Raises Invalid, ProviderUnavailable."""
    _check(new)
    loopback = is_loopback(new.issuer)
    await _discover(new.issuer, loopback=loopback)
    id = ids.new_id()
    sealed = env.keyring.seal(new.secret.encode(), _about(id))
    domains = list(new.domains)

    async def work(tx: Tx) -> None:
        await tx.run(Q.insert_provider, id, new.name, new.issuer, new.client_id, sealed, domains, new.link)
        after = {
            "name": new.name,
            "issuer": new.issuer,
            "client_id": new.client_id,
            "domains": domains,
            "link": new.link,
        }
        trail.note(tx, "provider.added", ids.show("idp", id), after=after)

    try:
        await env.control.transact(work)
    except Conflict as error:
        raise Invalid("There is a provider of this name, or of this issuer, already.", param="name") from error
    return id


async def remove(tx: Tx, name: str) -> None:
    """Nobody signs in by it from now on; whoever is signed in stays so.  Raises NotFound."""
    row = await tx.row(Q.delete_provider, name)
    if row is None:
        raise NotFound(f"There is no provider {name[:40]!r}.")
    trail.note(tx, "provider.removed", ids.show("idp", row["id"]), before={"name": name, "issuer": row["issuer"]})


async def everybody(env: Env) -> list[Provider]:
    """All providers, by name."""
    return [_provider(r) for r in await env.control.rows(Q.list_providers)]


async def get(env: Env, name: str) -> Provider:
    """The provider of this name.  Raises NotFound."""
    row = await env.control.row(Q.find_provider, name) if _NAME.fullmatch(name) else None
    if row is None:
        raise NotFound(f"There is no identity provider {name[:40]!r} here.")
    return _provider(row)


def secret_of(env: Env, p: Provider) -> str:
    """Its secret, opened."""
    return env.keyring.open(p.sealed, _about(p.id)).decode()


def is_loopback(issuer: str) -> bool:
    """Whether an issuer's address is this machine's."""
    try:
        return ask.is_here(check_url(issuer, loopback=True).host)
    except Refused:
        return False


class Directory:
    """What this process knows of providers.  Many that want the same wait for one answer."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._held: dict[tuple[str, str], tuple[float, Any]] = {}
        self._looked: dict[str, float] = {}  # when a key that was not there was last looked for
        self._asking: dict[tuple[str, str], asyncio.Task[Any]] = {}

    async def configuration(self, p: Provider) -> Configuration:
        """Where its addresses are.  Raises ProviderUnavailable."""
        return await self._get("configuration", p, lambda: _discover(p.issuer, loopback=p.loopback))

    async def keys(self, p: Provider, *, unknown: bool = False) -> list[dict[str, Any]]:
        """Its keys.  `unknown`: one is missed; they are looked at anew, but not twice within a minute.  Raises ProviderUnavailable."""
        if unknown and self._now() - self._looked.get(p.issuer, float("-inf")) >= AGAIN_S:
            self._looked[p.issuer] = self._now()
            self._held.pop(("keys", p.issuer), None)
        configuration = await self.configuration(p)
        return await self._get("keys", p, lambda: _fetch_keys(p, configuration.jwks_uri))

    async def _get(self, what: str, p: Provider, fetch: Callable[[], Awaitable[T]]) -> T:
        key = (what, p.issuer)
        at, value = self._held.get(key, (float("-inf"), None))
        if self._now() - at < KEPT_S:
            return value
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = asyncio.ensure_future(self._fetch(key, fetch))
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        return await asyncio.shield(task)

    async def _fetch(self, key: tuple[str, str], fetch: Callable[[], Awaitable[T]]) -> T:
        value = await fetch()
        self._held[key] = (self._now(), value)
        return value


async def _discover(issuer: str, *, loopback: bool) -> Configuration:
    said = await ask.ask(issuer.rstrip("/") + "/.well-known/openid-configuration", loopback=loopback)
    if said.status != 200:
        raise ProviderUnavailable(
            f"{issuer} does not say where it is to be asked: HTTP {said.status}. Nobody was signed in."
        )
    found = openid.read_configuration(said.body, issuer)
    for url in (found.authorization_endpoint, found.token_endpoint, found.jwks_uri, found.userinfo_endpoint):
        if url is not None:
            ask.check(url, loopback=loopback)
    return found


async def _fetch_keys(p: Provider, url: str) -> list[dict[str, Any]]:
    said = await ask.ask(url, loopback=p.loopback)
    if said.status != 200:
        raise ProviderUnavailable(f"{p.issuer} does not hand out its keys: HTTP {said.status}. Nobody was signed in.")
    return openid.read_keys(said.body, p.issuer)


def _check(new: New) -> None:
    if not _NAME.fullmatch(new.name):
        raise Invalid(
            "A provider's name is 1 to 30 small letters, digits and dashes: it stands in addresses.", param="name"
        )
    if "?" in new.issuer:
        raise Invalid("An issuer has no query.", param="issuer")
    if not new.client_id or not new.secret:
        raise Invalid("A provider needs a client id and a secret.", param="client_id")
    if bad := [d for d in new.domains if not _DOMAIN.fullmatch(d)]:
        raise Invalid(f"{bad[0][:80]!r} is no domain of e-mail addresses: say example.com.", param="domains")


def _provider(row: Row) -> Provider:
    return Provider(
        row["id"], row["name"], row["issuer"], row["client_id"], row["secret"], row["domains"], Link(row["link"]), row["created_at"]
    )  # fmt: skip


def _about(id: UUID) -> str:
    return f"people.provider/{id}"
