"""An exchange with a channel, without the network.

    def native(self, ask) -> Exchange[Outcome]:
        try:
            reply = yield HttpCall("POST", url, headers, body)
        except NotSent: ...
        except Silence: ...
        return Outcome(...)

An adapter is a generator: it yields the calls that it wants made and receives the replies.  `platform/wire` drives it; a test
drives it with a list.  One exchange may take several calls (bill address, then bill).
"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class HttpCall:
    """One request to a channel.  `body` goes out byte for byte: it was signed."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    timeout_s: float = 10.0
    max_bytes: int = 1 << 20  # a longer reply is garbage; statements ask for more


@dataclass(frozen=True, slots=True)
class HttpReply:
    """What came back.  Header names are lower case; the body is raw, for signatures are over bytes."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class NotSent(Exception):
    """Not a byte left this machine (no address, refused, unreachable): nothing can have happened."""


class Silence(Exception):
    """The request may have arrived and no whole answer came: it may have happened."""


class Told:
    """What an exchange made of a channel's answers, as far as it says how the channel is: well, unless its class says otherwise.

    A class, for each exchange is asked whether its result is one, and of a protocol that takes longer than all else that is done with it.
    """

    __slots__ = ()

    @property
    def unanswered(self) -> bool:
        """It said nothing that tells anything."""
        return False

    @property
    def declined(self) -> bool:
        """It answered, and refused."""
        return False


Exchange = Generator[HttpCall, HttpReply, T]


def patient(exchange: Exchange[T], timeout_s: float) -> Exchange[T]:
    """The same exchange, with another limit for each of its calls."""
    try:
        call = next(exchange)
        while True:
            try:
                reply = yield replace(call, timeout_s=timeout_s)
            except (NotSent, Silence) as fault:
                call = exchange.throw(fault)
            else:
                call = exchange.send(reply)
    except StopIteration as stop:
        return stop.value
