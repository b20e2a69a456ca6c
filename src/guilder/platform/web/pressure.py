"""How far this process is behind with its work, and what it turns away then.

    pressure = Pressure()
    asyncio.create_task(pressure.follow())
    with pressure:                                # a call is inside
        pressure.admit(begins=True)               # raises Busy

More calls than a process can serve do not make it slow by as much as they are too many: every call that is let in takes its turn with
all the others, until none of them is answered while its caller still waits.  So what cannot be served soon is turned away at the door,
before anything is done and at a hundredth of the cost, and the caller's SDK comes again by itself.

What begins something is turned away first.  A call that goes on with something (confirms, captures, cancels: it names it) is let in for
longer, because what went before was in vain otherwise.  Channels' callbacks never pass here: each is money that has moved.
"""

import asyncio
import logging
import time

from guilder.core.errors import Busy
from guilder.platform import telemetry

TICK_S = 0.05
CROWD = 64
BEGIN_S = 0.5  # so far behind, nothing new is begun
GO_ON_S = 2.0  # so far behind, nothing is gone on with either
log = logging.getLogger("guilder.pressure")


class Pressure:
    """One process's; `behind_s` is how late its event loop came to what was due, half of it forgotten at each look since.  Few calls on a
    slow machine are no crowd."""

    def __init__(self) -> None:
        self.behind_s = 0.0
        self.inside = 0  # calls that are being served
        self._refusing = False

    def __enter__(self) -> None:
        self.inside += 1

    def __exit__(self, *_: object) -> None:
        self.inside -= 1

    def admit(self, *, begins: bool) -> None:
        """Raises Busy if the call that has come inside is not to stay.  `begins`: it goes on with nothing that there is."""
        if self.inside > CROWD and self.behind_s > (BEGIN_S if begins else GO_ON_S):
            telemetry.BUSY.labels("door").inc()
            raise Busy(
                "More calls arrive than can be served; nothing was done. Try again with the same idempotency key."
            )

    async def follow(self) -> None:
        """Look for ever."""
        while True:
            due = time.monotonic() + TICK_S
            await asyncio.sleep(TICK_S)
            self.came(time.monotonic() - due)

    def came(self, late_s: float) -> None:
        """What was due came so late."""
        self.behind_s = max(late_s, self.behind_s / 2)
        refusing = self.inside > CROWD and self.behind_s > BEGIN_S
        if refusing and not self._refusing:
            log.warning("overloaded: %.2f s behind; new calls are turned away until it is not", self.behind_s)
        elif self._refusing and not refusing:
            log.warning("overloaded no more")
        self._refusing = refusing
