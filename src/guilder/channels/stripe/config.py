"""What one Stripe account needs to be spoken for."""

from typing import Annotated
from urllib.parse import urlsplit

from guilder.channels.config import ChannelConfig, hint, http_address
from guilder.core.amount import EXPONENT

API, FILES = "https://api.stripe.com", "https://files.stripe.com"
SCRIPT = "https://js.stripe.com/v3/"


class StripeConfig(ChannelConfig, frozen=True, kw_only=True):
    """Stripe signs its events with a secret per endpoint; while one is rolled, events carry signatures of both."""

    base_url: Annotated[str, hint("https://api.stripe.com, or a simulator")]
    account_id: Annotated[str, hint("the account that the keys belong to: acct_...")]
    secret_key: Annotated[str, hint("secret or restricted key: sk_..., rk_...", secret=True)]
    publishable_key: Annotated[str, hint("the key that the payer's page is given: pk_...")]
    webhook_secret: Annotated[str, hint("signing secret of the webhook endpoint: whsec_...", secret=True)]
    currency: Annotated[str, hint("the currency that the account settles in, upper case: the report's")]
    previous_webhook_secret: Annotated[str, hint("the secret before, while it is being rolled", secret=True)] = ""

    @property
    def account_ref(self) -> str:
        return self.account_id

    @property
    def files_url(self) -> str:
        """Where reports are fetched.  Derived and never read from an answer: our secret key goes there."""
        return (
            FILES if urlsplit(self.base_url).netloc == urlsplit(API).netloc else http_address("base_url", self.base_url)
        )

    @property
    def script_url(self) -> str:
        """Stripe.js, or a simulator's."""
        at_stripe = urlsplit(self.base_url).netloc == urlsplit(API).netloc
        return SCRIPT if at_stripe else http_address("base_url", self.base_url) + "/v3/"

    @property
    def webhook_secrets(self) -> tuple[str, ...]:
        return tuple(secret for secret in (self.webhook_secret, self.previous_webhook_secret) if secret.strip())

    def __post_init__(self) -> None:
        super().__post_init__()
        http_address("base_url", self.base_url)
        if self.secret_key.startswith("pk_") or not self.publishable_key.startswith("pk_"):
            raise ValueError("secret_key and publishable_key are the wrong way round")
        if not self.secret_key.isascii() or not self.secret_key.isprintable():
            raise ValueError("secret_key holds what no key holds")
        if self.currency not in EXPONENT:
            raise ValueError("currency is none that we know: write it like USD")
