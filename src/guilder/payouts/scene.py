"""One item's surroundings: where decisions are noted, how things are shown, what time it is, which door it came through."""

from datetime import datetime

import msgspec

from guilder.payouts.model import Changes


class Scene(msgspec.Struct, frozen=True):
    changes: Changes
    livemode: bool
    at: datetime
    door: str
