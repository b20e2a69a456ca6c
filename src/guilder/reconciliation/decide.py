"""Decide: a break that a person was asked about ends with his answer, in the commit that ends the case."""

from collections.abc import Mapping

from guilder.core import clock, ids
from guilder.payments import doubts
from guilder.platform.case import Answer, Dossier, Ending
from guilder.platform.db import Tx
from guilder.platform.sql import load

Q = load(__package__)
GONE = "missing_at_channel"  # what we hold as done, and the channel does not list


async def end_nobodys(tx: Tx, about: Dossier, answer: Answer) -> None:
    """A line that is none of ours: every break of its number and amount, in whatever statement it stands."""
    account, said = ids.read("ca", str(about.evidence["channel_account"])), about.evidence
    await tx.run(
        Q.decide_missing_local, account, said["channel_ref"], said["units"], said["asset"], *_of(about, answer)
    )


async def end_gone(tx: Tx, about: Dossier, answer: Answer) -> None:
    """What the channel did not list."""
    account, named = ids.read("ca", str(about.evidence["channel_account"])), ids.split_key(about.subject)
    if named is not None:
        await tx.run(Q.decide_missing_channel, account, about.book_id, named[0], *_of(about, answer))


def _of(about: Dossier, answer: Answer) -> tuple[object, ...]:
    return about.id, answer.actor, f"{answer.resolver}: {answer.why}", clock.now()


ENDINGS: Mapping[str, Ending] = {doubts.UNMATCHED: end_nobodys, GONE: end_gone}
