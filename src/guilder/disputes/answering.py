"""Answer a dispute: keep the evidence (D4), send it, record what the channel makes of it."""

from uuid import UUID

import msgspec

from guilder.channels.info import Operation
from guilder.channels.model import Outcome, State, SubmitEvidence
from guilder.core import clock, ids
from guilder.core.errors import Invalid, NotFound, Unknown, WrongState
from guilder.disputes import store
from guilder.disputes.model import Dispute
from guilder.disputes.record import collected, record
from guilder.disputes.states import ENDED
from guilder.merchants import channel_accounts
from guilder.platform import context, trail
from guilder.platform.crypto import Keyring
from guilder.platform.db import Tx
from guilder.platform.environment import Env
from guilder.platform.sql import load
from guilder.platform.web import merge_metadata
from guilder.platform.wire import About

Q = load(__package__)


class Answer(msgspec.Struct, frozen=True):
    """What a merchant says.  `accept`: it gives in."""

    evidence: dict[str, str]
    metadata: dict[str, str]
    send: bool = False
    accept: bool = False


def _about(id: UUID) -> str:
    return f"disputes.dispute/{id}"


def evidence_of(keyring: Keyring, d: Dispute) -> dict[str, str]:
    """What was answered so far."""
    return (
        {} if d.evidence is None else msgspec.json.decode(keyring.open(d.evidence, _about(d.id)), type=dict[str, str])
    )


async def answer(env: Env, book_id: UUID, id: UUID, said: Answer) -> Dispute:
    """Keep it, and send it where it is to be sent.  The same answer twice is harmless.

    Raises NotFound; WrongState once it is decided or its deadline is over; Invalid where the channel takes no evidence by call; Unknown if
    the channel has not answered: it is kept, and can be sent again.
    """
    dispute = await env.db.transact(lambda tx: _keep(tx, env.keyring, book_id, id, said))
    if not (said.send or said.accept):
        return dispute
    account = await channel_accounts.get(env, dispute.channel_account_id)
    of = None if account is None else await collected(env, account, ids.mint_key(dispute.attempt_id, book_id))
    if account is None or of is None or not account.info.can(Operation.EVIDENCE):
        raise Invalid(
            f"{dispute.channel} takes no evidence by call: answer at the channel. It is kept here.", param="submit"
        )
    ask = SubmitEvidence(dispute.ref, evidence_of(env.keyring, dispute), said.accept)
    about = About(book_id, account.id, account.info.code, "evidence", dispute.id)
    outcome: Outcome = await env.wire.carry_out(account.channel.ask(ask), about)
    if outcome.state is State.FAILED and outcome.problem is not None:
        raise WrongState(f"The channel does not take it: {outcome.problem.message}", code="dispute_evidence_refused")
    if outcome.dispute is None:
        raise Unknown
    await record(env, of, outcome.dispute, "reply", context.current())
    return await env.db.transact(lambda tx: _sent(tx, book_id, id))


async def _keep(tx: Tx, keyring: Keyring, book_id: UUID, id: UUID, said: Answer) -> Dispute:
    d = await _lock(tx, book_id, id)
    if (said.evidence or said.send or said.accept) and d.state in ENDED:
        raise WrongState(f"This dispute was decided: {d.state.value}.", code="dispute_closed")
    if said.send and d.due_at is not None and d.due_at < clock.now():
        raise WrongState("The time for evidence is over.", code="dispute_past_due")
    if said.evidence:
        kept = evidence_of(keyring, d) | said.evidence
        d.evidence = keyring.seal(msgspec.json.encode(kept), _about(id))
    d.metadata = merge_metadata(d.metadata, said.metadata)
    tx.write(Q.update_disputes, store.rows([d]))
    if said.send or said.accept:
        act = "dispute.accepted" if said.accept else "dispute.answered"
        trail.note(tx, act, ids.show("dp", id), book_id=book_id, after={"evidence": sorted(said.evidence)})
    return d


async def _sent(tx: Tx, book_id: UUID, id: UUID) -> Dispute:
    d = await _lock(tx, book_id, id)
    d.submitted_at = d.submitted_at or clock.now()
    tx.write(Q.update_disputes, store.rows([d]))
    return d


async def _lock(tx: Tx, book_id: UUID, id: UUID) -> Dispute:
    row = await tx.row(Q.lock_dispute, book_id, id)
    if row is None:
        raise NotFound(f"No such dispute: '{ids.show('dp', id)}'", param="dispute")
    return store.dispute_of(row)
