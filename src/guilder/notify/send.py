"""Send one webhook over HTTP.  Whatever happens is a Reply; only a cancelled send raises."""

import time
from collections.abc import Mapping
from types import TracebackType

import aiohttp

from guilder.notify.schedule import Reply
from guilder.platform import db, guard
from guilder.platform.guard import LookUp, Refused

KEPT = 500  # bytes of the response that the log shows
MAX_RESPONSE = 65_536  # read so that the connection can be used again; a longer one costs the connection
_NO_AUTO = frozenset({"User-Agent", "Accept", "Accept-Encoding", "Content-Type"})


class Sender:
    """The connections to merchants of one process and environment: no redirects, no proxies, no cookies, no decompression."""

    def __init__(self, *, loopback: bool, timeout_s: float, look_up: LookUp = guard.look_up) -> None:
        self._loopback = loopback
        self._session = aiohttp.ClientSession(
            connector=guard.guarded_connector(loopback=loopback, look_up=look_up),
            timeout=aiohttp.ClientTimeout(total=timeout_s),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=_NO_AUTO,
            auto_decompress=False,
            trust_env=False,
        )

    async def __aenter__(self) -> "Sender":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self._session.close()

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """POST `body`.  A connection that the other side had closed meanwhile is replaced once: sending twice is allowed."""
        db.outside()
        started = time.monotonic()
        for _ in range(2):
            if (reply := await self._post(url, headers, body, started)) is not None:
                return reply
        return _silent("the connection was closed without an answer", started)

    async def _post(self, url: str, headers: Mapping[str, str], body: bytes, started: float) -> Reply | None:
        try:
            target = guard.check_url(url, loopback=self._loopback)
            async with self._session.post(target.url, data=body, headers=headers, allow_redirects=False) as answer:
                response = await _read(answer)
                error = None if 200 <= answer.status < 300 else f"HTTP {answer.status}"
                return Reply(answer.status, _ms(started), error, response, answer.headers.get("Retry-After"))
        except (aiohttp.ServerDisconnectedError, ConnectionResetError):
            return None
        except TimeoutError:
            return _silent("timeout", started)
        except aiohttp.ClientConnectorError as error:
            why = error.__cause__
            return _silent(f"refused: {why}" if isinstance(why, Refused) else f"no connection: {error}", started)
        except Refused as error:
            return _silent(f"refused: {error}", started)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return _silent(f"{type(error).__name__}: {error}", started)


async def _read(answer: aiohttp.ClientResponse) -> str:
    """The beginning of the response, as text without NUL."""
    kept = b""
    size = 0
    async for chunk in answer.content.iter_any():
        size += len(chunk)
        if len(kept) < KEPT:
            kept += chunk[: KEPT - len(kept)]
        if size > MAX_RESPONSE:
            answer.close()
            break
    return kept.decode("utf-8", "replace").replace("\0", "")


def _silent(error: str, started: float) -> Reply:
    return Reply(None, _ms(started), error[:300])


def _ms(started: float) -> int:
    return round((time.monotonic() - started) * 1000)
