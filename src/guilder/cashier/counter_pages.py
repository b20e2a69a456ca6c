"""The pages of a counter: how much, and on to the payment.

    GET  /q/{env}/{ref}/{link}       what the till presents (303 to its page), or the question how much
    POST the same, form `amount=`    a payment of so much (303 to its page)
    GET  …/plate  …/plate.svg        to print

The code is on a plate that everybody may scan and photograph: it opens new payments and shows none that others made.
"""

import logging
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from guilder.cashier import counter, device, html, plate, view
from guilder.cashier.counter import Counter
from guilder.core import ids
from guilder.core.amount import EXPONENT, MAX, from_major
from guilder.core.errors import GuilderError
from guilder.platform.db import CommitUnknown, DatabaseError
from guilder.platform.environment import Env

log = logging.getLogger("guilder.cashier")
BEGINS, PER_S = 10, 10.0  # of one browser's address, at one counter
_SAID = re.compile(r"[0-9]{1,9}(\.[0-9]{0,3})?", re.ASCII)
_NONCE = re.compile(r"[A-Za-z0-9_-]{16,64}", re.ASCII)
Show = Callable[[Request, Counter], Awaitable[Response]]


def routes(envs: Mapping[str, Env]) -> list[Route]:
    """All addresses."""
    pages, path = _Pages(), "/q/{env}/{ref}/{link}"
    shows = [
        (path, _ask, "GET"),
        (path, pages.begin, "POST"),
        (f"{path}/plate", _print, "GET"),
        (f"{path}/plate.svg", _plate, "GET"),
    ]
    return [Route(at, _shows(envs, show), methods=[method]) for at, show, method in shows]


def _shows(envs: Mapping[str, Env], show: Show) -> Callable[[Request], Awaitable[Response]]:
    """Find the counter of a link, then show it; what goes wrong is a page, too."""

    async def endpoint(request: Request) -> Response:
        path = request.path_params
        env = envs.get(path["env"])
        try:
            found = await counter.find(env, path["ref"], path["link"]) if env is not None else None
            return await show(request, found) if found is not None else html.gone(request, 404)
        except (GuilderError, DatabaseError, CommitUnknown) as error:
            log.warning("a counter could not be shown: %s", error)
        except Exception:
            log.exception("a counter's page failed")
        return html.gone(request, 503)

    return endpoint


class _Pages:
    """What has to be slowed down."""

    def __init__(self) -> None:
        self._begins = html.Pace(BEGINS, PER_S)

    async def begin(self, request: Request, at: Counter) -> Response:
        """POST: the payer has said how much."""
        if html.is_foreign(at.env, request):
            return html.gone(request, 403)
        form = await html.form(request)
        if form is None:
            return html.gone(request, 413)
        speak = html.language(request)
        units, nonce = _units(form.get("amount", ""), at.currency), form.get("nonce", "")
        if units is None or not _NONCE.fullmatch(nonce):
            return _asking(request, at, speak.say("Please enter an amount."), form.get("amount", "")[:20])
        who = request.client.host if request.client is not None else ""
        if not self._begins.allows((at.path, who)):
            problem = speak.say("That was a little fast. Please wait a moment, then try again.")
            return _asking(request, at, problem, form.get("amount", "")[:20])
        page = await counter.begin(at, units, nonce, ids.show("req", ids.new_id()))
        return _onward(page, speak.code)


async def _ask(request: Request, at: Counter) -> Response:
    """GET: what its till presents, or how much."""
    if at.presented is not None:
        return _onward(at.presented, html.language(request).code)
    return _asking(request, at)


def _onward(page: str, language: str) -> Response:
    """On to a payment, whose only way on this device is begun at once."""
    return RedirectResponse(f"{urlsplit(page).path}?lang={language}&start", 303, html.HEADERS)


def _asking(request: Request, at: Counter, problem: str | None = None, said: str = "") -> Response:
    speak, in_ = html.language(request), html.in_hand(request)
    offers = device.offers(in_, at.types, {}, at.accounts, at.currency, 1)
    content = html.templates(speak.code).get_template("counter.html").render(
        at=at, words=speak, problem=problem, said=said, nonce=secrets.token_urlsafe(18), exponent=EXPONENT[at.currency],
        money=speak.money(0, at.currency), offers=[(o.type, view.method_name(o.type, speak)) for o in offers],
        only=view.method_name(offers[0].type, speak) if len(offers) == 1 else None, test=not at.env.livemode,
    )  # fmt: skip
    return HTMLResponse(content, 422 if problem else 200, headers=html.HEADERS)


def _units(said: str, currency: str) -> int | None:
    """Minor units of what somebody has typed; None if it is no amount."""
    said = said.strip().replace("\uff0e", ".").replace("\u3002", ".").removeprefix("¥").removeprefix("￥").strip()
    if not _SAID.fullmatch(said):
        return None
    try:
        units = from_major(said.rstrip("."), EXPONENT[currency])
    except ValueError:
        return None
    return units if 0 < units <= MAX else None


async def _plate(request: Request, at: Counter) -> Response:
    """The plate's picture."""
    headers = {**html.HEADERS, "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
    return Response(_drawn(request, at), media_type="image/svg+xml", headers=headers)


async def _print(request: Request, at: Counter) -> Response:
    """The plate as a page to print."""
    speak = html.language(request, "zh" if at.currency == "CNY" else "auto")
    page = html.templates(speak.code).get_template("plate.html").render(at=at, words=speak, query=f"?lang={speak.code}")
    return HTMLResponse(page, headers=html.HEADERS)


def _drawn(request: Request, at: Counter) -> str:
    speak = html.language(request, "zh" if at.currency == "CNY" else "auto")
    till = at.place.terminal.name if at.place.terminal is not None else None
    return plate.svg(at.plate, at.place.store.name, till, at.types, speak, test=not at.env.livemode)
