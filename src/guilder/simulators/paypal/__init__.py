"""PayPal, simulated: orders that are approved on the phone and captured by the merchant, and everything that follows."""

from guilder.simulators.paypal.api import Api
from guilder.simulators.paypal.channel import PayPal
from guilder.simulators.paypal.signing import platform_keys

__all__ = ["Api", "PayPal", "platform_keys"]
