"""Sign in by an OpenID provider: authorization code, PKCE, state and nonce.

    1. transaction   note that a browser leaves for the provider              (begin: state, nonce, verifier)
    2. the browser   goes there, and comes back with a code
    3. transaction   take the note: of many that come with one state, one     (finish)
    4. network       exchange the code, look at the keys; nothing is locked
    5. transaction   find out who it is, note what is new, make a session

Who is let in.  Whoever the provider means by a subject that is linked to a person here.  Somebody new only by an open invitation to the
e-mail address that the provider has verified, and only if nobody here has that address yet: an account is never taken over because a
provider names its address; its owner links the two while he is signed in.

A person with a second factor of his own is let in if the provider says that it asked for one (`amr` holds `mfa`), and is sent to password
and code otherwise: there is no page here yet that could ask for the code, and a sign-in is not made easier by going round.
"""

import asyncio
import base64
import hashlib
import logging
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar
from urllib.parse import quote, urlencode
from uuid import UUID

import msgspec

from guilder.core import clock, ids
from guilder.core.check import never
from guilder.core.errors import Busy, GuilderError, RateLimited, Unauthenticated
from guilder.people import ask, invite, openid, providers, sign_in
from guilder.people.openid import Claims, Configuration, Expected, ProviderUnavailable, SignInRefused, UnknownKey
from guilder.people.providers import Directory, Link, Provider
from guilder.people.sign_in import SignedIn
from guilder.platform import context, telemetry, trail
from guilder.platform.db import Conflict, Contended, Lost, Row, Tx
from guilder.platform.environment import Env
from guilder.platform.sql import load

Q = load(__package__)
T = TypeVar("T")
log = logging.getLogger("guilder.people")
AWAY_S = 600  # for so long a browser may be at the provider
MOST_AWAY = 200  # of one network address
SCOPE = "openid email profile"


@dataclass(frozen=True, slots=True)
class Begun:
    """Where the browser goes, and what it keeps meanwhile."""

    url: str
    cookie: str


@dataclass(frozen=True, slots=True)
class Back:
    """With what a browser comes back."""

    state: str
    cookie: str
    code: str
    error: str = ""
    issuer: str | None = None
    place: str = ""
    agent: str = ""


@dataclass(frozen=True, slots=True)
class Linked:
    """A person who was signed in has shown that he is this one at the provider, too."""

    person_id: UUID


async def begin(rt: Env, directory: Directory, p: Provider, *, place: str, session_id: UUID | None = None) -> Begun:
    """Note that a browser leaves for the provider.  `session_id`: of a person who wants to link what the provider says.

    Raises ProviderUnavailable, RateLimited."""
    configuration = await directory.configuration(p)
    state, cookie, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(4))
    hashed = _digest(state)
    sealed = rt.keyring.seal(verifier.encode(), _about(hashed))
    until = clock.now() + timedelta(seconds=AWAY_S)

    async def work(tx: Tx) -> None:
        await tx.run(Q.delete_expired_sign_ins)
        if await tx.value(Q.count_sign_ins, place) >= MOST_AWAY:
            raise RateLimited(
                "Too many sign-ins were begun from your address and not ended. Try again in some minutes."
            )
        await tx.run(Q.insert_sign_in, hashed, _digest(cookie), p.id, session_id, nonce, sealed, place, until)

    await rt.control.transact(work)
    asked = {
        "response_type": "code",
        "client_id": p.client_id,
        "redirect_uri": _redirect_uri(rt, p),
        "scope": SCOPE,
        "state": state,
        "nonce": nonce,
        "code_challenge": base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
    }
    at = configuration.authorization_endpoint
    return Begun(f"{at}{'&' if '?' in at else '?'}{urlencode(asked)}", cookie)


async def finish(rt: Env, directory: Directory, p: Provider, back: Back) -> SignedIn | Linked:
    """Let in whoever the provider says has come back.  Raises SignInRefused, ProviderUnavailable, Busy."""
    try:
        made = await _finish(rt, directory, p, back)
    except GuilderError as error:
        telemetry.SIGN_INS.labels(error.code or "failed").inc()
        raise
    telemetry.SIGN_INS.labels("linked" if isinstance(made, Linked) else "signed_in").inc()
    return made


async def _finish(rt: Env, directory: Directory, p: Provider, back: Back) -> SignedIn | Linked:
    taken = await rt.control.transact(
        lambda tx: tx.row(Q.take_sign_in, _digest(back.state), _digest(back.cookie), p.id)
    )
    if taken is None:
        raise SignInRefused(
            "This sign-in is over, was used already, or was begun in another browser. Begin again.", code="sign_in_over"
        )
    configuration = await directory.configuration(p)
    claims = await _claims(rt, directory, p, configuration, back, taken)
    _check_domain(p, claims)
    return await _persist(rt, lambda tx: _let_in(tx, p, claims, back, taken["session_id"]))


async def _claims(
    rt: Env, directory: Directory, p: Provider, configuration: Configuration, back: Back, taken: Row
) -> Claims:
    """Who the provider says it is."""
    told = configuration.authorization_response_iss_parameter_supported
    if back.issuer != p.issuer if told else back.issuer not in (None, p.issuer):
        raise SignInRefused("This answer is another identity provider's (RFC 9207).")
    if back.error or not back.code:
        raise SignInRefused(f"The identity provider did not sign you in ({_plain(back.error) or 'it gave no code'}).")
    verifier = rt.keyring.open(taken["verifier"], _about(_digest(back.state))).decode()
    tokens = await _exchange(rt, p, configuration, back.code, verifier)
    expected = Expected(p.issuer, p.client_id, taken["nonce"])
    try:
        claims = openid.read_id_token(tokens.id_token, await directory.keys(p), expected, clock.now())
    except UnknownKey:
        keys = await directory.keys(p, unknown=True)
        claims = openid.read_id_token(tokens.id_token, keys, expected, clock.now())
    if claims.email is None and configuration.userinfo_endpoint and tokens.access_token:
        return await _with_userinfo(p, configuration.userinfo_endpoint, tokens.access_token, claims)
    return claims


async def _exchange(rt: Env, p: Provider, configuration: Configuration, code: str, verifier: str) -> openid.Tokens:
    """The tokens of a code.  The code is good once: asked again, the provider refuses."""
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": _redirect_uri(rt, p),
        "code_verifier": verifier,
        "client_id": p.client_id,
    }
    secret, authorization = providers.secret_of(rt, p), None
    if "client_secret_basic" in configuration.token_endpoint_auth_methods_supported:
        pair = f"{quote(p.client_id, safe='')}:{quote(secret, safe='')}"
        authorization = "Basic " + base64.b64encode(pair.encode()).decode()
    else:
        form["client_secret"] = secret
    said = await ask.ask(configuration.token_endpoint, loopback=p.loopback, form=form, authorization=authorization)
    if said.status in (400, 401, 403):
        log.warning("%s refuses a code: HTTP %d %s", p.name, said.status, _plain(said.body.decode("utf-8", "replace")))
        raise SignInRefused(
            "The identity provider refuses the code that it gave you, or does not know us any more. Begin again."
        )
    if said.status != 200:
        raise ProviderUnavailable(
            f"The identity provider answered HTTP {said.status}; nobody was signed in. Try again."
        )
    return openid.read_tokens(said.body, p.issuer)


async def _with_userinfo(p: Provider, url: str, access_token: str, claims: Claims) -> Claims:
    """The claims with the e-mail address that the provider's userinfo says of the same subject."""
    said = await ask.ask(url, loopback=p.loopback, authorization=f"Bearer {access_token}")
    if said.status != 200:
        raise ProviderUnavailable(
            f"The identity provider does not say who you are: HTTP {said.status}. Nobody was signed in."
        )
    found = openid.read_userinfo(said.body, p.issuer)
    if found.sub != claims.sub:
        raise SignInRefused("The identity provider's userinfo speaks of somebody else.")
    return openid.with_email(claims, found)


def _check_domain(p: Provider, claims: Claims) -> None:
    email = claims.verified_email
    if p.domains and (email is None or email.rpartition("@")[2] not in p.domains):
        raise SignInRefused(
            f"Only verified e-mail addresses of {', '.join(p.domains)} are let in by this identity provider."
        )


async def _persist(rt: Env, work: Callable[[Tx], Awaitable[T]]) -> T:
    """In one transaction, again where another was faster: what it did is seen then."""
    for _ in range(3):
        try:
            return await rt.control.transact(work)
        except (Conflict, Contended, Lost):
            await asyncio.sleep(0.05)
    raise Busy


async def _let_in(tx: Tx, p: Provider, claims: Claims, back: Back, session_id: UUID | None) -> SignedIn | Linked:
    """Find out who it is, and make a session; or link what the person who is signed in has shown."""
    if session_id is not None:
        return await _link(tx, p, claims, session_id)
    email = claims.verified_email if p.link is Link.INVITATION else None
    invited = await tx.rows(Q.lock_invitations_of_email, email) if email else []
    person = await tx.row(Q.lock_identity, p.issuer, claims.sub)
    if person is None:
        await _join(tx, p, claims, invited)
        person = await tx.row(Q.lock_identity, p.issuer, claims.sub)
    elif person["disabled_at"] is not None:
        raise SignInRefused("Your account is disabled. Ask whoever runs this platform.")
    elif person["totp"] is not None and not claims.second_factor:
        raise SignInRefused(
            "Your account asks for a second factor, and the identity provider does not say that it asked for one. Sign in with your "
            "password and code, or have the provider ask (amr: mfa).",
            code="second_factor_required",
        )
    if person is None:
        never("whoever joined is known")
    return await sign_in.begin(tx, person, ip=back.place, agent=back.agent)


async def _link(tx: Tx, p: Provider, claims: Claims, session_id: UUID) -> Linked:
    me = await tx.row(Q.find_linking_person, session_id)
    if me is None or me["disabled_at"] is not None:
        raise Unauthenticated("The session that you began this with is over. Sign in and begin again.")
    known = await tx.row(Q.lock_identity, p.issuer, claims.sub)
    if known is not None and known["id"] != me["id"]:
        raise SignInRefused("The identity provider's account belongs to somebody else here.", code="identity_taken")
    if known is None:
        _act_as(me["id"])
        await _note_identity(tx, p, claims, me["id"])
    return Linked(me["id"])


async def _join(tx: Tx, p: Provider, claims: Claims, invited: list[Row]) -> None:
    """Somebody new, by the invitations that wait for the address."""
    if not invited:
        raise SignInRefused(
            "Nobody here is linked to this account, and no invitation waits for a verified e-mail address of it. If you have an account "
            "here, sign in and link the two; else ask for an invitation."
        )
    email = claims.verified_email
    if await tx.row(Q.find_person_by_email, email) is not None:
        raise SignInRefused(
            "Somebody here has this e-mail address. If it is you, sign in as usual and link the two accounts.",
            code="link_required",
        )
    id = ids.new_id()
    _act_as(id)
    await tx.run(Q.insert_person, id, email, claims.shown_name, None, clock.now())
    trail.note(tx, "user.made", ids.show("usr", id), after={"provider": p.name})
    given = [await _accept(tx, offered, id) for offered in invited]
    if not any(given):
        raise SignInRefused("Whoever sent this invitation may not give that role any more. Ask for a new one.")
    await _note_identity(tx, p, claims, id)


async def _accept(tx: Tx, offered: Row, id: UUID) -> bool:
    """Take an invitation up, if whoever gave it may still give its role."""
    try:
        await invite.give(tx, offered, id)
    except invite.InvitationRefused:
        return False
    await tx.run(Q.accept_invitation, offered["id"])
    book, after = offered["merchant_id"] or ids.PLATFORM, {"user": ids.show("usr", id)}
    trail.note(tx, "invitation.accepted", ids.show("inv", offered["id"]), book_id=book, after=after)
    return True


async def _note_identity(tx: Tx, p: Provider, claims: Claims, person_id: UUID) -> None:
    await tx.run(Q.insert_identity, p.issuer, claims.sub, person_id)
    trail.note(tx, "identity.linked", ids.show("usr", person_id), after={"provider": p.name})


def _act_as(person_id: UUID) -> None:
    """What follows is done by the person who is only just being let in."""
    context.enter(msgspec.structs.replace(context.current(), actor=ids.show("usr", person_id)))


def _redirect_uri(rt: Env, p: Provider) -> str:
    return f"{rt.settings.api_url}/auth/oidc/{p.name}/callback"


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()


def _about(state: bytes) -> str:
    return f"people.sign_in/{state.hex()}"


def _plain(text: str) -> str:
    """A stranger's word, fit to be shown: an error code is letters and underscores."""
    return "".join(c for c in text[:60] if c.isascii() and (c.isalnum() or c in "_- "))
