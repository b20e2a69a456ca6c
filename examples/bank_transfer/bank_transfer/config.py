"""What the channel can do, and what one contract with the bank needs."""

from datetime import time
from typing import Annotated

from guilder.channels.config import ChannelConfig, hint, http_address
from guilder.channels.info import Info, Operation, Way
from guilder.core.clock import BEIJING

INFO = Info(
    code="bank_transfer",
    title="Bank transfer",
    titles={"zh": "银行转账"},
    ways=(Way("virtual_account", "bank_transfer", "web", "sdk", least=100),),
    currencies=frozenset({"CNY"}),
    operations=frozenset({Operation.CLOSE, Operation.REFUND}),
    min_expiry_s=60,
    max_expiry_s=30 * 86_400,
    zone=BEIJING,
    day_cut=time(0),
    statement_from=time(9),
    query_after_s=(60, 600, 3600),
    refund_query_after_s=(10, 60, 600, 3600),
    extra={"parts": "an order that is paid in parts waits for the rest; one that ends short is told with what came"},
)


class BankConfig(ChannelConfig, frozen=True, kw_only=True):
    """One customer's contract with the bank."""

    base_url: Annotated[str, hint("the bank's address, or a simulator's")]
    customer: Annotated[str, hint("the number that the bank has given us")]
    secret: Annotated[str, hint("what both sides sign with", secret=True)]

    @property
    def account_ref(self) -> str:
        return self.customer

    def __post_init__(self) -> None:
        super().__post_init__()
        http_address("base_url", self.base_url)
        if len(self.secret) < 32:
            raise ValueError("secret is shorter than 32 characters")
