"""Ask an OpenID provider: the one place from which people's domain speaks to the outside.

Where it may go is `guard`'s to say, at the text of the URL, at the names and at the socket; beyond that only https (http on this machine's
own addresses), no redirect is followed, little is read, and nobody waits long.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

import aiohttp

from guilder.people.openid import ProviderUnavailable
from guilder.platform import db, guard
from guilder.platform.guard import Refused, Target

TIMEOUT_S = 5.0
MAX_BODY = 256 * 1024


@dataclass(frozen=True, slots=True)
class Said:
    """What a provider answered."""

    status: int
    body: bytes


def check(url: str, *, loopback: bool) -> Target:
    """`url` if a provider may be asked, or a browser sent, there.  Raises ProviderUnavailable."""
    try:
        target = guard.check_url(url, loopback=loopback)
    except Refused as refusal:
        raise ProviderUnavailable(f"The identity provider's address {url[:200]!r} is refused: {refusal}") from None
    if target.url.scheme != "https" and not is_here(target.host):
        raise ProviderUnavailable(
            f"The identity provider's address {url[:200]!r} is refused: it must begin with https://."
        )
    return target


def is_here(host: str) -> bool:
    """Whether `host` is this machine itself, by name or address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def ask(
    url: str, *, loopback: bool, form: Mapping[str, str] | None = None, authorization: str | None = None
) -> Said:
    """GET, or POST a form.  Whatever the status, it is an answer; raises ProviderUnavailable where there is none."""
    db.outside()
    target = check(url, loopback=loopback)
    headers = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "Guilder"}
    if form is not None:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    if authorization is not None:
        headers["Authorization"] = authorization
    try:
        async with (
            aiohttp.ClientSession(
                connector=guard.guarded_connector(loopback=loopback),
                timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
            ) as session,
            session.request(
                "GET" if form is None else "POST",
                target.url,
                data=None if form is None else urlencode(form).encode(),
                headers=headers,
                allow_redirects=False,
            ) as answer,
        ):
            return Said(answer.status, await _read(answer))
    except TimeoutError:
        raise _silent(target, f"no answer within {TIMEOUT_S:.0f} s") from None
    except aiohttp.ClientConnectorError as error:
        why = error.__cause__
        raise _silent(target, str(why) if isinstance(why, Refused) else "no connection") from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise _silent(target, type(error).__name__) from error


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    body = b""
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > MAX_BODY:
            answer.close()
            raise ValueError("the answer is too large")
    return body


def _silent(target: Target, why: str) -> ProviderUnavailable:
    return ProviderUnavailable(
        f"The identity provider at {target.host} cannot be asked ({why}); nobody was signed in. Try again, or sign in another way."
    )
