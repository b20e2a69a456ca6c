"""The desk: what a channel's operations have at hand.  One per process."""

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
        data.mkdir(parents=True, exist_ok=True)
        self.clock = Clock()
        self.book = Book(data / "book.sqlite3", self.clock.now)
        self.dials = Dials(self.book)
        self.keys = KeyPool()
        self.channels: dict[str, Channel] = {}
        self.courier = Courier(self.book, self.clock, self.dials, self.channels)

    def channel_of(self, trade: Trade) -> Channel:
        """The channel of a trade."""
        return self.channels[trade.channel]
