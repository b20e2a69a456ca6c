"""What a channel must bring to the desk: names, signatures and forms.  Everything else is shared."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from guilder.simulators.model import Account, Callback, Facts, Payout, Refund, Trade
from guilder.simulators.statements import Line


class Channel(Protocol):
    """What is different about each channel: names, signatures, forms."""

    name: str
    retry_after_s: Sequence[int]  # between the tries of a callback
    refund_takes_s: float

    async def open_account(self, name: str, address: str, options: Mapping[str, str]) -> Account:
        """A new contract.  Raises ValueError on an option that the channel does not know."""
        ...

    def payment_fact(self, trade: Trade) -> tuple[str, Facts] | None:
        """Event name and content of the callback about a trade that has just changed, or None."""
        ...

    def refund_fact(self, trade: Trade, refund: Refund) -> tuple[str, Facts] | None:
        """Event name and content of the callback about a refund that has just ended, or None."""
        ...

    def payout_fact(self, payout: Payout) -> tuple[str, Facts] | None:
        """Event name and content of the callback about a payout that has just ended, or None."""
        ...

    def seal(self, account: Account, callback: Callback, forged: str) -> tuple[dict[str, str], bytes]:
        """Headers and body of a try.  `forged` is '' or how to get the signature wrong."""
        ...

    def forgeries(self) -> Sequence[str]:
        """The ways in which this channel's callbacks are forged."""
        ...

    def accepted(self, status: int, body: bytes) -> bool:
        """Whether the merchant's answer to a callback ends the tries."""
        ...

    def returns_to(self, trade: Trade) -> str:
        """Where the payer's browser goes after paying, '' to stay."""
        ...

    def statement(self, account: Account, day: str, kind: str, lines: Sequence[Line], corrupt: str) -> bytes:
        """The day's file.  `kind` is the channel's bill type."""
        ...
