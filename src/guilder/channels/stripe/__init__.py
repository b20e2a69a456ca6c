"""Stripe as a channel: cards by PaymentIntents, refunds, disputes, payouts and the itemised balance report.

Source of the protocol facts: Stripe's API reference and its guides (docs.stripe.com), and its official SDKs.  Our own API speaks the same
dialect; nothing is shared with it, for here we are the merchant.
"""

from guilder.channels.stripe.adapter import Stripe
from guilder.channels.stripe.config import StripeConfig
from guilder.channels.stripe.ways import INFO

__all__ = ["INFO", "Stripe", "StripeConfig"]
