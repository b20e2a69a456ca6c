"""The pages: HTML for the payer, the code as a picture, the live stream, and the button.

    GET  /c/{env}/{ref}/{link}           the page; with the header `Guilder-Part: panel` its changing part alone
    POST the same, form `method=`        pay this way; a script gets the new panel, a form is sent back to the page
    GET  …/qr.svg  …/qr.png  …/events
    GET  /assets/{digest}/{name}         style and script, kept for ever

`/pay/…` is the same for a bare payment.  Nothing is kept in the browser; the link is the capability, so no page is cached, framed or
referred from, and a POST that names another origin is refused.
"""

import asyncio
import hashlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from importlib.resources import files
from io import BytesIO
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import jinja2
import segno
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from guilder.cashier import device, pay, till, view, words
from guilder.cashier.till import Stage, Till
from guilder.cashier.watch import Watch
from guilder.cashier.words import Words
from guilder.core import ids
from guilder.core.errors import GuilderError, InFlight, KeyReused, Unknown
from guilder.platform.db import CommitUnknown, DatabaseError
from guilder.platform.environment import Env

log = logging.getLogger("guilder.cashier")
MAX_FORM = 4096
PRESSES, PER_S = 6, 10.0  # of one payment
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin-allow-popups",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex, nofollow",
}
_ASSETS = {"cashier.css": "text/css", "cashier.js": "text/javascript", "mark.svg": "image/svg+xml"}
Show = Callable[[Request, Till], Awaitable[Response]]


@cache
def asset(name: str) -> str:
    """The address of a file of ours: it changes with its content."""
    return f"/assets/{hashlib.sha256(_asset(name)).hexdigest()[:12]}/{name}"


@cache
def _asset(name: str) -> bytes:
    return files("guilder.cashier").joinpath("static", name).read_bytes()


@cache
def _templates(language: str) -> jinja2.Environment:
    env = jinja2.Environment(
        loader=jinja2.PackageLoader("guilder.cashier"), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined, extensions=["jinja2.ext.i18n"],
    )  # fmt: skip
    env.install_gettext_translations(words.speak(language).translations, newstyle=True)  # pyrefly: ignore
    names: dict[str, Any] = {"asset": asset, "LANGUAGES": words.LANGUAGES, "NAMES": words.NAMES}
    env.globals.update(names)
    return env


class Cashier:
    """The pages of every environment of this process."""

    def __init__(self, envs: Mapping[str, Env], stopping: Callable[[], bool]) -> None:
        self._envs = envs
        self._watches = {name: Watch(env, stopping) for name, env in envs.items()}
        self._presses = Pace(PRESSES, PER_S)
        self._looks = Pace(1, 3.0)
        self._tasks: set[asyncio.Task[None]] = set()

    def routes(self) -> list[Route]:
        """All addresses."""
        made = [Route("/assets/{digest}/{name}", _file)]
        for kind in ("c", "pay"):
            path = f"/{kind}/{{env}}/{{ref}}/{{link}}"
            made += [
                Route(path, self._shows(kind, self._page)),
                Route(path, self._shows(kind, self._press), methods=["POST"]),
                Route(f"{path}/events", self._shows(kind, self._events)),
                Route(f"{path}/qr.svg", self._shows(kind, _svg)),
                Route(f"{path}/qr.png", self._shows(kind, _png)),
            ]
        return [*made, Route("/{anything:path}", lambda request: _gone(request, 404))]

    def _shows(self, kind: str, show: Show) -> Callable[[Request], Awaitable[Response]]:
        """Find the till of a link, then show it; what goes wrong is a page, too."""

        async def endpoint(request: Request) -> Response:
            path = request.path_params
            env = self._envs.get(path["env"])
            try:
                found = await till.find(env, kind, path["ref"], path["link"]) if env is not None else None
                return await show(request, found) if found is not None else _gone(request, 404)
            except (GuilderError, DatabaseError, CommitUnknown) as error:
                log.warning("a page could not be shown: %s", error)
            except Exception:
                log.exception("a page failed")
            return _gone(request, 503)

        return endpoint

    async def _page(self, request: Request, t: Till) -> Response:
        """GET: the page, or its panel."""
        back = "back" in request.query_params
        if back and t.stage is Stage.LEAVE and self._looks.allows(t.key):
            self._in_background(pay.look(t, ids.show("req", ids.new_id())))
        return _render(request, t, back=back, go="go" in request.query_params)

    async def _press(self, request: Request, t: Till) -> Response:
        """POST: the payer chose a way."""
        origin = request.headers.get("origin")
        if origin is not None and origin not in (_origin(t.env.settings.cashier_url), _origin(str(request.base_url))):
            return _gone(request, 403)
        form = await _form(request)
        if form is None:
            return _gone(request, 413)
        speak, in_ = _words(request, t), device.read(request.headers.get("user-agent", ""))
        offers = device.offers(in_, t.types, t.options)
        offer = next((o for o in offers if o.type == form.get("method")), None)
        problem = None
        if offer is not None and not t.stage.final:
            problem = await self._pay(t, offer, speak)
        fresh = await till.find(
            t.env, request.url.path.split("/")[1], request.path_params["ref"], request.path_params["link"]
        )
        leaving = fresh is not None and fresh.leaves_to is not None
        if _wants_panel(request) or problem is not None:
            return _render(request, fresh or t, problem=problem, go=leaving)
        return RedirectResponse(f"{t.path}?lang={speak.code}{'&go' if leaving else ''}", 303, HEADERS)

    async def _pay(self, t: Till, offer: device.Offer, speak: Words) -> str | None:
        """Ask the channel; what went wrong, where the payment itself does not say it."""
        if not self._presses.allows(t.key):
            return speak.say("That was a little fast. Please wait a moment, then try again.")
        return_url = f"{t.env.settings.cashier_url}{t.path}?lang={speak.code}&back=1"
        try:
            reply = await pay.pay(t, offer, return_url, ids.show("req", ids.new_id()))
        except (InFlight, KeyReused, Unknown, CommitUnknown):
            return None  # another press was first, or we are asking: the page shows it
        except (GuilderError, DatabaseError) as error:
            log.warning("a payer could not pay: %s", error)
            return speak.say("We are busy just now. Nothing was charged; please try again in a moment.")
        if reply is not None and reply.status not in (200, 402):
            log.warning("a payer could not pay: %s", reply.body.decode(errors="replace")[:500])
        return None

    async def _events(self, request: Request, t: Till) -> Response:
        """The live stream of one page."""
        stream = self._watches[t.env.name].open(t.key)
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no", "X-Content-Type-Options": "nosniff"}
        return StreamingResponse(stream, media_type="text/event-stream", headers=headers)

    def _in_background(self, work: Awaitable[None]) -> None:
        async def run() -> None:
            try:
                await work
            except Exception as error:
                log.warning("a channel could not be asked: %s", error)

        task = asyncio.create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class Pace:
    """At most `count` of something per `within_s`, for each key.  In this process only: a brake, not a lock."""

    def __init__(self, count: int, within_s: float) -> None:
        self._count, self._within_s = count, within_s
        self._seen: dict[object, list[float]] = {}

    def allows(self, key: object) -> bool:
        """Whether once more is not too fast; counts it if so."""
        now = time.monotonic()
        if len(self._seen) > 10_000:
            self._seen = {k: times for k, times in self._seen.items() if times[-1] > now - self._within_s}
        times = [at for at in self._seen.get(key, []) if at > now - self._within_s]
        allowed = len(times) < self._count
        self._seen[key] = [*times, now] if allowed else times
        return allowed


def _render(
    request: Request, t: Till, *, problem: str | None = None, back: bool = False, go: bool = False
) -> HTMLResponse:
    speak, in_ = _words(request, t), device.read(request.headers.get("user-agent", ""))
    shown = view.of(t, speak, in_, problem=problem, back=back, go=go)
    template = "panel.html" if _wants_panel(request) else "page.html"
    headers = dict(HEADERS)
    if shown.go is not None and not _wants_panel(request):
        headers["Refresh"] = f"1; url={shown.go}"
    return HTMLResponse(_templates(speak.code).get_template(template).render(v=shown), headers=headers)


def _words(request: Request, t: Till | None) -> Words:
    asked = request.query_params.get("lang", "")
    return words.speak(words.choose(asked, t.locale if t else "auto", request.headers.get("accept-language", "")))


def _wants_panel(request: Request) -> bool:
    return request.headers.get("guilder-part") == "panel"


def _gone(request: Request, status: int) -> Response:
    """There is nothing to pay here, or not just now."""
    speak = _words(request, None)
    content = _templates(speak.code).get_template("gone.html").render(words=speak, status=status)
    return HTMLResponse(content, status, HEADERS)


def _code(t: Till) -> segno.QRCode | None:
    return segno.make(t.code, error="m", micro=False) if t.code is not None else None


async def _svg(request: Request, t: Till) -> Response:
    """The code for screens: modules as vectors; the white around it on the page completes the quiet zone."""
    code, out = _code(t), BytesIO()
    if code is None:
        return Response("There is no code to scan now.\n", 404, HEADERS)
    code.save(out, kind="svg", border=1, xmldecl=False, omitsize=True, light="#fff")
    return Response(out.getvalue(), media_type="image/svg+xml", headers=HEADERS)


async def _png(request: Request, t: Till) -> Response:
    """The code for apps that read or save pictures."""
    code, out = _code(t), BytesIO()
    if code is None:
        return Response("There is no code to scan now.\n", 404, HEADERS)
    code.save(out, kind="png", border=4, scale=14)
    return Response(out.getvalue(), media_type="image/png", headers=HEADERS)


async def _file(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in _ASSETS or request.url.path != asset(name):
        return _gone(request, 404)
    kept = {"Cache-Control": "public, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}
    return Response(_asset(name), media_type=_ASSETS[name], headers=kept)


async def _form(request: Request) -> dict[str, str] | None:
    """The form; None if it is too large."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM:
            return None
    return dict(parse_qsl(body.decode(errors="replace"), max_num_fields=20))


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def pages(envs: Mapping[str, Env], stopping: Callable[[], bool] = lambda: False) -> list[Route]:
    """The routes of the cashier process; put them last, for they answer every path.  When `stopping` says so, live streams end,
    so that the server need not wait for them."""
    return Cashier(envs, stopping).routes()
