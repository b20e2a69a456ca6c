"""Notify: webhooks to merchants, and the events behind them.

    WITNESSES       make the deliveries of an event, in its own commit    (outbox)
    pump(env, wake) sends them, for ever; wake it at NOTIFY of WAKE       (worker)
    LOOPS           measures the backlog, forgets what is old             (worker)
    ROUTES          /v1/webhook_endpoints, /v1/events                     (API)

Invariants.  Tests carry these names (`test_N3_...`).

    N1  An event makes one delivery for each endpoint that wants it, in the commit that says it.
    N2  A delivery is made at least once: a try whose result nobody wrote is made again, with the same event id and body,
        less what was erased meanwhile.
    N3  Every try carries signatures that `stripe` and `standardwebhooks` verify; during a roll, with either secret.
    N4  No connection leads inside: what was checked is what is connected to, at each try.  See `platform.guard`.
    N5  Only the latest claim of a delivery settles it.
    N6  An endpoint that hangs or fails delays no other.
    N7  An endpoint is disabled by 410, or by days of nothing but failures; a case and an event tell of it, and nothing is dropped:
        what waited is `dead`, counted, and can be asked for again.
    N8  A redirect is a failure, never followed.
    N9  A secret is told once, and stored sealed only, the idempotency answer included.

Order.  Deliveries may overtake each other; an event's `object_version` has no gaps per object: sort by it.
Cost.   Per batch of events a part of its statement; per round of deliveries one to claim, one to settle.
"""

from guilder.notify.api import ROUTES
from guilder.notify.courier import POLICY, pump
from guilder.notify.fan_out import WAKE, WITNESSES
from guilder.notify.jobs import LOOPS
from guilder.notify.schedule import Policy

__all__ = ["LOOPS", "POLICY", "ROUTES", "WAKE", "WITNESSES", "Policy", "pump"]
