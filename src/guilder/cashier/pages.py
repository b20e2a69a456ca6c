"""The pages: HTML for the payer, the code as a picture, the live stream, and the button.

    GET  /c/{env}/{ref}/{link}           the page; with the header `Guilder-Part: panel` its changing part alone
    POST the same, form `method=`        pay this way; a script gets the new panel, a form is sent back to the page
    GET  …/qr.svg  …/qr.png  …/events
    GET  /assets/{digest}/{name}         style and script, kept for ever

`/pay/…` is the same for a bare payment.  Nothing is kept in the browser; the link is the capability, so no page is cached, framed or
referred from, and a POST that names another origin is refused.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from io import BytesIO
from urllib.parse import urlsplit

import segno
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from guilder.cashier import counter_pages, device, html, pay, payer, till, view
from guilder.cashier.till import Stage, Till
from guilder.cashier.watch import Watch
from guilder.cashier.words import Words
from guilder.channels.model import Scripted
from guilder.core import ids
from guilder.core.errors import GuilderError, InFlight, KeyReused, Unknown
from guilder.merchants import channel_accounts
from guilder.payments import front
from guilder.platform.db import CommitUnknown, DatabaseError
from guilder.platform.environment import Env

log = logging.getLogger("guilder.cashier")
PRESSES, PER_S = 6, 10.0  # of one payment
Show = Callable[[Request, Till], Awaitable[Response]]


class Cashier:
    """The pages of every environment of this process."""

    def __init__(self, envs: Mapping[str, Env], stopping: Callable[[], bool]) -> None:
        self._envs = envs
        self._watches = {name: Watch(env, stopping) for name, env in envs.items()}
        self._presses = html.Pace(PRESSES, PER_S)
        self._looks = html.Pace(1, 3.0)
        self._tasks: set[asyncio.Task[None]] = set()

    def routes(self) -> list[Route]:
        """All addresses."""
        made = [Route("/assets/{digest}/{name}", html.file)]
        for kind in ("c", "pay"):
            path = f"/{kind}/{{env}}/{{ref}}/{{link}}"
            made += [
                Route(path, self._shows(kind, self._page)),
                Route(path, self._shows(kind, self._press), methods=["POST"]),
                Route(f"{path}/events", self._shows(kind, self._events)),
                Route(f"{path}/go", self._shows(kind, _go)),
                Route(f"{path}/card", self._shows(kind, _card)),
                Route(f"{path}/payer", self._shows(kind, self._identified)),
                Route(f"{path}/qr.svg", self._shows(kind, _svg)),
                Route(f"{path}/qr.png", self._shows(kind, _png)),
            ]
        made += counter_pages.routes(self._envs)
        return [*made, Route("/{anything:path}", lambda request: html.gone(request, 404))]

    def _shows(self, kind: str, show: Show) -> Callable[[Request], Awaitable[Response]]:
        """Find the till of a link, then show it; what goes wrong is a page, too."""

        async def endpoint(request: Request) -> Response:
            path = request.path_params
            env = self._envs.get(path["env"])
            try:
                found = await till.find(env, kind, path["ref"], path["link"]) if env is not None else None
                return await show(request, found) if found is not None else html.gone(request, 404)
            except (GuilderError, DatabaseError, CommitUnknown) as error:
                log.warning("a page could not be shown: %s", error)
            except Exception:
                log.exception("a page failed")
            return html.gone(request, 503)

        return endpoint

    async def _page(self, request: Request, t: Till) -> Response:
        """GET: the page, or its panel."""
        back = "back" in request.query_params
        if back and t.stage in (Stage.LEAVE, Stage.WALLET) and self._looks.allows(t.key):
            self._in_background(pay.look(t, ids.show("req", ids.new_id())))
        if (
            t.unasked
            and t.attempt_id is not None
            and view.stage_of(t, html.in_hand(request), known=False) is Stage.ASKING
        ):
            self._in_background(front.open_now(t.env, t.book_id, t.attempt_id))
        return _render(request, t, back=back, go=t.leaves_to if "go" in request.query_params else None)

    async def _press(self, request: Request, t: Till) -> Response:
        """POST: the payer chose a way."""
        if html.is_foreign(t.env, request):
            return html.gone(request, 403)
        form = await html.form(request)
        if form is None:
            return html.gone(request, 413)
        speak = html.language(request, t.locale)
        offer = next((o for o in view.offered(t, html.in_hand(request)) if o.type == form.get("method")), None)
        problem = None
        if offer is not None and not t.stage.final:
            known = _known(request, t, offer)
            if offer.identity is not None and offer.identity not in known:
                back_to = f"{t.env.settings.cashier_url}{t.path}/payer?lang={speak.code}&method={offer.type}"
                return _render(request, t, go=await payer.address(t, offer, back_to))
            problem = await self._pay(t, offer, speak, known, request)
        fresh = await _again(request, t)
        if _wants_panel(request) or problem is not None:
            return _render(request, fresh, problem=problem, go=fresh.leaves_to)
        return RedirectResponse(f"{t.path}?lang={speak.code}{'&go' if fresh.leaves_to else ''}", 303, html.HEADERS)

    async def _identified(self, request: Request, t: Till) -> Response:
        """GET: back from the wallet, which says who pays; go on with what was pressed."""
        asked, speak = request.query_params, html.language(request, t.locale)
        offer = next((o for o in view.offered(t, html.in_hand(request)) if o.type == asked.get("method")), None)
        if offer is None or offer.identity is None or t.stage.final:
            return RedirectResponse(f"{t.path}?lang={speak.code}", 303, html.HEADERS)
        code = asked.get("code") or asked.get("auth_code") or ""
        who = await payer.identify(t, offer, code, asked.get("state", ""))
        if who is None:
            problem = speak.say("We could not learn from your wallet who pays. Nothing was charged; please try again.")
            return _render(request, t, problem=problem)
        problem = await self._pay(t, offer, speak, {**_known(request, t, offer), offer.identity: who.payer}, request)
        if problem is not None:
            return _render(request, await _again(request, t), problem=problem)
        reply = RedirectResponse(f"{t.path}?lang={speak.code}", 303, html.HEADERS)
        kept, secure = payer.remember(t, who), t.env.settings.cashier_url.startswith("https:")
        reply.set_cookie(
            payer.COOKIE, kept.value, max_age=kept.seconds, path=kept.path, httponly=True, samesite="lax", secure=secure
        )
        return reply

    async def _pay(
        self, t: Till, offer: device.Offer, speak: Words, known: Mapping[str, str], request: Request
    ) -> str | None:
        """Ask the channel; what went wrong, where the payment itself does not say it."""
        if not self._presses.allows(t.key):
            return speak.say("That was a little fast. Please wait a moment, then try again.")
        return_url = f"{t.env.settings.cashier_url}{t.path}?lang={speak.code}&back=1"
        try:
            user_agent = request.headers.get("user-agent", "")
            reply = await pay.pay(t, offer, return_url, ids.show("req", ids.new_id()), known, user_agent)
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


def _render(
    request: Request, t: Till, *, problem: str | None = None, back: bool = False, go: str | None = None
) -> HTMLResponse:
    speak, in_ = html.language(request, t.locale), html.in_hand(request)
    mine = any(o.identity in _known(request, t, o) for o in view.offered(t, in_) if o.identity is not None)
    start = "start" in request.query_params
    shown = view.of(t, speak, in_, known=mine, problem=problem, back=back, go=go, start=start)
    template = "panel.html" if _wants_panel(request) else "page.html"
    headers = dict(html.HEADERS)
    if shown.go is not None and not _wants_panel(request):
        headers["Refresh"] = f"1; url={shown.go}"
    return HTMLResponse(html.templates(speak.code).get_template(template).render(v=shown), headers=headers)


def _known(request: Request, t: Till, offer: device.Offer) -> dict[str, str]:
    """What the page knows of the payer that a way may need."""
    known = {"payer_ip": request.client.host} if request.client is not None else {}
    who = payer.recall(t, request.cookies.get(payer.COOKIE), offer) if offer.identity is not None else None
    return known if who is None or offer.identity is None else {**known, offer.identity: who}


async def _again(request: Request, t: Till) -> Till:
    """The till as it is by now."""
    path = request.path_params
    return await till.find(t.env, request.url.path.split("/")[1], path["ref"], path["link"]) or t


def _wants_panel(request: Request) -> bool:
    return request.headers.get("guilder-part") == "panel"


def _code(t: Till) -> segno.QRCode | None:
    return segno.make(t.code, error="m", micro=False) if t.code is not None else None


async def _go(request: Request, t: Till) -> Response:
    """From here the payer goes to the channel's page by POST, with what the channel has signed."""
    attempt = await pay.the_attempt(t) if t.leaves_to is not None else None
    form = (attempt.next_action or {}).get("form") if attempt is not None else None
    speak = html.language(request, t.locale)
    if form is None:
        return RedirectResponse(f"{t.path}?lang={speak.code}", 303, html.HEADERS)
    name = view.method_name(t.method_type or "", speak)
    page = html.templates(speak.code).get_template("go.html").render(words=speak, form=form, method=name)
    policy = html.POLICY.replace("form-action 'self'", f"form-action {_reach(form['url'])}")
    return HTMLResponse(page, headers={**html.HEADERS, "Content-Security-Policy": policy})


def _reach(url: str) -> str:
    """Where a form may lead: to its origin, and to what that sends it on to under the same name."""
    host = urlsplit(url).hostname or ""
    near = host.rpartition(".")[0].rpartition(".")[2] + "." + host.rpartition(".")[2]
    return (
        html.origin(url)
        if host.replace(".", "").isdigit() or host.count(".") < 2
        else f"{html.origin(url)} https://*.{near}"
    )


async def _card(request: Request, t: Till) -> Response:
    """The channel's own fields for a card: what is typed there goes to the channel, and never comes by here."""
    attempt = await pay.the_attempt(t) if t.fields is not None else None
    account = await channel_accounts.get(t.env, attempt.channel_account_id) if attempt is not None else None
    speak = html.language(request, t.locale)
    if account is None or not isinstance(account.channel, Scripted):
        return RedirectResponse(f"{t.path}?lang={speak.code}", 303, html.HEADERS)
    script = account.channel.script_url
    page = html.templates(speak.code).get_template("card.html").render(
        words=speak, t=t, script=script, money=speak.money(t.amount, t.currency), fields=t.fields,
        back=f"{t.env.settings.cashier_url}{t.path}?lang={speak.code}&back=1", test=not t.env.livemode,
    )  # fmt: skip
    reach = _reach(script)
    policy = html.POLICY.replace("script-src 'self'", f"script-src 'self' {reach}").replace(
        "connect-src 'self'", f"connect-src 'self' {reach}; frame-src {reach}"
    )
    return HTMLResponse(page, headers={**html.HEADERS, "Content-Security-Policy": policy})


async def _svg(request: Request, t: Till) -> Response:
    """The code for screens: modules as vectors; the white around it on the page completes the quiet zone."""
    code, out = _code(t), BytesIO()
    if code is None:
        return Response("There is no code to scan now.\n", 404, html.HEADERS)
    code.save(out, kind="svg", border=1, xmldecl=False, omitsize=True, light="#fff")
    return Response(out.getvalue(), media_type="image/svg+xml", headers=html.HEADERS)


async def _png(request: Request, t: Till) -> Response:
    """The code for apps that read or save pictures."""
    code, out = _code(t), BytesIO()
    if code is None:
        return Response("There is no code to scan now.\n", 404, html.HEADERS)
    code.save(out, kind="png", border=4, scale=14)
    return Response(out.getvalue(), media_type="image/png", headers=html.HEADERS)


def pages(envs: Mapping[str, Env], stopping: Callable[[], bool] = lambda: False) -> list[Route]:
    """The routes of the cashier process; put them last, for they answer every path.  When `stopping` says so, live streams end,
    so that the server need not wait for them."""
    return Cashier(envs, stopping).routes()
