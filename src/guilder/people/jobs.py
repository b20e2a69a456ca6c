"""What must not grow for ever: sessions and invitations that were over long ago, and tries that nobody counts any more."""

from guilder.platform.db import Tx
from guilder.platform.environment import Env
from guilder.platform.jobs import Loop
from guilder.platform.sql import load

Q = load(__package__)


async def forget(rt: Env) -> int:
    """Remove them.  `rt` is the control database as an environment."""

    async def work(tx: Tx) -> int:
        await tx.run(Q.forget_sessions)
        await tx.run(Q.forget_attempts)
        await tx.run(Q.forget_invitations)
        return 0

    return await rt.control.transact(work, durable=False)


CONTROL_LOOPS = (Loop("people.forget", 3600, forget),)
