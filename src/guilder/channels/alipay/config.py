"""What one Alipay app needs to be spoken for."""

from typing import Annotated

from guilder.channels.config import ChannelConfig, hint, http_address


class AlipayConfig(ChannelConfig, frozen=True, kw_only=True):
    """One app of one seller, with keys (not certificates) as its way of signing."""

    gateway: Annotated[str, hint("https://openapi.alipay.com/gateway.do, or a simulator")]
    app_id: Annotated[str, hint("the app, 16 digits")]
    seller_id: Annotated[str, hint("the seller's Alipay number: 2088...")]
    private_key: Annotated[str, hint("the app's private key, PEM or base64", secret=True)]
    alipay_public_key: Annotated[str, hint("Alipay's public key for this app, PEM or base64")]

    def __post_init__(self) -> None:
        super().__post_init__()
        http_address("gateway", self.gateway)
