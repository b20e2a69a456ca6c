"""Payouts whose number we never heard, once Stripe has forgotten our key: they are looked for in its list, and never asked for again."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from guilder.channels.conclude import Doubtful
from guilder.channels.model import Outcome, QueryPayout, State
from guilder.channels.reading import read_as
from guilder.channels.stripe.replies import List, absent, read_reply
from guilder.channels.stripe.states import Payout
from guilder.channels.stripe.ways import INFO
from guilder.core.clock import unix
from guilder.core.exchange import Exchange, HttpReply

KEY_LIVES = timedelta(seconds=INFO.key_s or 0)
CLOCKS_DIFFER = timedelta(minutes=5)
PAGES = 50  # of a hundred payouts, in the day in which ours may have been made


def looked_for(call: Callable[[str, str], Exchange[HttpReply]], ask: QueryPayout) -> Exchange[Outcome]:
    """By our key in its metadata, among those made while Stripe knew the key.  Unlike its search, its list lags behind nothing; NOT_FOUND
    is said when the list was read to its end."""
    since, until = ask.created_at - CLOCKS_DIFFER, ask.created_at + KEY_LIVES + CLOCKS_DIFFER
    query: dict[str, Any] = {"limit": 100, "created[gte]": unix(since), "created[lte]": unix(until)}
    for _ in range(PAGES):
        reply = yield from call("GET", f"/v1/payouts?{urlencode(query)}")
        if reply.status != 200:
            return absent(reply)
        page = read_reply(List, reply)
        try:
            payouts = [read_as(Payout, one) for one in page.data]
            found = [said for one in payouts if (said := one.outcome()).key == ask.key]
        except ValueError as error:
            raise Doubtful("unreadable", str(error)) from error
        if found:
            return found[0]
        if not page.has_more:
            return Outcome(State.NOT_FOUND)
        if not payouts:
            raise Doubtful("unreadable", "an empty page says that there are more")
        query["starting_after"] = payouts[-1].id
    raise Doubtful("too_many", "the list of that day's payouts goes on and on, and ours was not in it so far")
