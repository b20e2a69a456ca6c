"""The desk: what a channel's operations have at hand.  One per process."""

import fcntl
from pathlib import Path

from guilder.simulators.book import Book
from guilder.simulators.callbacks import Courier
from guilder.simulators.channel import Channel
from guilder.simulators.clock import Clock
from guilder.simulators.dials import Dials
from guilder.simulators.keys import KeyPool
from guilder.simulators.model import Trade


class Desk:
    """Book, clock, dials, courier and the channels that share them."""

    def __init__(self, data: Path) -> None:
        """Open the data directory.  Raises `BlockingIOError` when another process has it."""
        data.mkdir(parents=True, exist_ok=True)
        self._lock = (data / "lock").open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # gone with the process, however that ends
        self.clock = Clock()
        self.book = Book(data / "book.sqlite3", self.clock.now)
        self.dials = Dials(self.book)
        self.keys = KeyPool()
        self.channels: dict[str, Channel] = {}
        self.courier = Courier(self.book, self.clock, self.dials, self.channels)

    def channel_of(self, trade: Trade) -> Channel:
        """The channel of a trade."""
        return self.channels[trade.channel]
