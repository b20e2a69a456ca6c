"""What one PayPal business account needs to be spoken for."""

from typing import Annotated

from guilder.channels.config import ChannelConfig, hint, http_address
from guilder.core.amount import EXPONENT

CERTIFICATES_AT = (
    "https://api.paypal.com,https://api-m.paypal.com,https://api.sandbox.paypal.com,https://api-m.sandbox.paypal.com"
)


class PayPalConfig(ChannelConfig, frozen=True, kw_only=True):
    """One REST app of one business account.  A channel account takes one currency: statements are of one, and an account that holds
    several is several channel accounts with the same keys."""

    base_url: Annotated[str, hint("https://api-m.paypal.com, https://api-m.sandbox.paypal.com, or a simulator")]
    client_id: Annotated[str, hint("of the REST app")]
    client_secret: Annotated[str, hint("of the REST app", secret=True)]
    merchant_id: Annotated[str, hint("the business account's PayPal id, thirteen characters")]
    webhook_id: Annotated[str, hint("of the webhook that sends to us: it is part of what PayPal signs")]
    currency: Annotated[str, hint("what this account takes: USD, EUR, JPY ...")] = "USD"
    certificates_at: Annotated[
        str, hint("the origins, comma between, from which alone a webhook's certificate is fetched")
    ] = CERTIFICATES_AT
    authority: Annotated[str, hint("PEM of who vouches for those certificates; empty: this machine's authorities")] = ""
    reports_at: Annotated[
        str, hint("https directory that mirrors /ppreports/outgoing, with the settlement reports (STL-...)")
    ] = ""
    reports_token: Annotated[str, hint("bearer token of that directory, if it wants one", secret=True)] = ""

    @property
    def account_ref(self) -> str:
        return self.merchant_id

    @property
    def application(self) -> str:
        """No message names it; whose webhooks come to several channel accounts goes by it."""
        return self.client_id

    @property
    def origins(self) -> frozenset[str]:
        return frozenset(origin.strip() for origin in self.certificates_at.split(",") if origin.strip())

    def __post_init__(self) -> None:
        super().__post_init__()
        http_address("base_url", self.base_url)
        if self.currency not in EXPONENT:
            raise ValueError("currency is none that is known here: three upper-case letters")
        for origin in self.origins:
            if http_address("certificates_at", origin).count("/") != 2:
                raise ValueError("certificates_at holds more than origins: https://host, without a path")
        if not self.origins:
            raise ValueError("certificates_at is empty: no webhook could ever be verified")
        if self.reports_at:
            http_address("reports_at", self.reports_at)
