"""Where browsers begin and end a sign-in by an OpenID provider.

    GET  /auth/oidc/{provider}/start       302 to the provider, with a cookie that binds what comes back to this browser
    POST /auth/oidc/{provider}/link        the same for a person who is signed in (Authorization: Bearer us_…) and says the password once more
                                           (JSON: {"password": …}): a session alone changes nothing that signs in; answers {"url": …}
    GET  /auth/oidc/{provider}/callback    ends it: JSON with a session, as POST /v1/sessions answers it

Nothing secret stands in an address that leads here but the code, which is good once and only with what we keep; no answer is stored, framed
or referred from.
"""

import logging
from collections.abc import Awaitable, Callable

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from guilder.core import clock, ids
from guilder.core.errors import Forbidden, GuilderError, Invalid
from guilder.people import passwords, principal, providers, sign_in, sso, users
from guilder.people.present import UserSessionObject
from guilder.people.providers import Directory
from guilder.people.sign_in import SignedIn
from guilder.people.sso import AWAY_S, Back, Begun, Linked
from guilder.platform import context
from guilder.platform.environment import Env
from guilder.platform.web import Answer, api_key, encode, render_error

log = logging.getLogger("guilder.people")
LONGEST = 4096  # of a state, a code, a cookie
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex, nofollow",
}
Show = Callable[[Request], Awaitable[Response]]


class Identity(msgspec.Struct, kw_only=True):
    """An identity that the person who is signed in may sign in by from now on."""

    object: str = "identity"
    provider: str
    user: str


class Proof(msgspec.Struct):
    """What links an identity, beside a session."""

    password: str


class Away(msgspec.Struct, kw_only=True):
    """Where the browser is to go."""

    object: str = "sign_in"
    url: str


class Pages:
    """The addresses of one process, and what it knows of providers."""

    def __init__(self, rt: Env) -> None:
        self._rt = rt
        self._directory = Directory()
        self._secure = rt.settings.api_url.startswith("https://")
        self._cookie = "__Host-guilder_sign_in" if self._secure else "guilder_sign_in"

    async def start(self, request: Request) -> Response:
        """Send the browser to the provider."""
        p = await providers.get(self._rt, request.path_params["provider"])
        begun = await sso.begin(self._rt, self._directory, p, place=_place(request))
        return self._kept(RedirectResponse(begun.url, 302, HEADERS), begun)

    async def link(self, request: Request) -> Response:
        """Say to a person who is signed in where to go."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        token = api_key(headers)
        if not token.startswith(f"{principal.PERSON}_"):
            raise Forbidden("Only a person who is signed in can link an identity.")
        who = await principal.authenticate({self._rt.name: self._rt}, token, {})
        said = await _password(request)
        async with passwords.turn():
            person = await users.find(self._rt.control, principal.person(who))
            await sign_in.prove_again(self._rt, person, said, ip=_place(request))
        p = await providers.get(self._rt, request.path_params["provider"])
        begun = await sso.begin(self._rt, self._directory, p, place=_place(request), session_id=who.key_id)
        return self._kept(_json(Away(url=begun.url)), begun)

    async def callback(self, request: Request) -> Response:
        """Let the person in, or say why not."""
        p = await providers.get(self._rt, request.path_params["provider"])
        back = Back(
            _one(request, "state"), request.cookies.get(self._cookie, "")[:LONGEST], _one(request, "code"), _one(request, "error"),
            _one(request, "iss") or None, _place(request), _agent(request),
        )  # fmt: skip
        made = await sso.finish(self._rt, self._directory, p, back)
        if isinstance(made, Linked):
            answer = _json(Identity(provider=p.name, user=ids.show("usr", made.person_id)))
        else:
            answer = _json(_session(made))
        answer.delete_cookie(self._cookie, path="/", secure=self._secure, httponly=True, samesite="lax")
        return answer

    def _kept(self, answer: Response, begun: Begun) -> Response:
        answer.set_cookie(
            self._cookie, begun.cookie, max_age=AWAY_S, path="/", secure=self._secure, httponly=True, samesite="lax"
        )
        return answer


async def _password(request: Request) -> str:
    """The password of the body.  Raises Invalid."""
    raw = b""
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > LONGEST:
            break
    try:
        return msgspec.json.decode(raw, type=Proof).password
    except msgspec.MsgspecError:
        raise Invalid('Say your password once more: {"password": …} as JSON.', param="password") from None


def routes(rt: Env) -> list[Route]:
    """The addresses of sign-in by a provider.  People are shared by all environments, so any will do."""
    pages = Pages(rt)
    return [
        Route("/auth/oidc/{provider}/start", _shown(pages.start)),
        Route("/auth/oidc/{provider}/link", _shown(pages.link), methods=["POST"]),
        Route("/auth/oidc/{provider}/callback", _shown(pages.callback)),
    ]


def _shown(show: Show) -> Show:
    """What goes wrong is an answer, too."""

    async def endpoint(request: Request) -> Response:
        about = context.mint(request_id=ids.show("req", ids.new_id()), actor="browser", place=_place(request))
        with context.use(about):
            try:
                if request.method == "HEAD":  # it would begin, or use up, a sign-in that nobody sees
                    return Response(status_code=405, headers={"Allow": "GET", **HEADERS})
                return await show(request)
            except GuilderError as error:
                return _rendered(render_error(error))
            except Exception:
                log.exception("unforeseen error", extra={"request_id": about.request_id})
                return _rendered(
                    render_error(GuilderError("An unknown error occurred on our side; nobody was signed in."))
                )

    return endpoint


def _session(made: SignedIn) -> UserSessionObject:
    at = clock.unix(made.created_at)
    return UserSessionObject(
        id=ids.show("ses", made.id), agent=made.agent, created=at, current=True, expires_at=clock.unix(made.expires_at), ip=made.ip,
        last_seen_at=at, token=made.token, user=ids.show("usr", made.person["id"]),
    )  # fmt: skip


def _json(said: msgspec.Struct) -> Response:
    return Response(encode(said), 200, HEADERS, "application/json")


def _rendered(answer: Answer) -> Response:
    return Response(answer.body, answer.status, {**answer.headers, **HEADERS}, "application/json")


def _one(request: Request, name: str) -> str:
    """A parameter that is given once, or not at all."""
    given = request.query_params.getlist(name)
    if len(given) > 1 or any(len(value) > LONGEST for value in given):
        raise Invalid(f"{name} is given twice, or is too long.", param=name)
    return given[0] if given else ""


def _agent(request: Request) -> str:
    return "".join(c for c in request.headers.get("user-agent", "") if c.isprintable())[: sign_in.MAX_AGENT]


def _place(request: Request) -> str:
    return request.client.host if request.client else ""
