"""Test cards: tokens that a merchant's test sends, numbers that are typed into the hosted fields, and what becomes of each."""

from typing import NamedTuple


class Card(NamedTuple):
    """What happens when it is charged: `code` declines it, `asks` sends the payer to his bank first, `disputes` complains later."""

    brand: str
    last4: str
    code: str = ""
    decline_code: str = ""
    asks: bool = False
    disputes: bool = False


CARDS = {
    "pm_card_visa": Card("visa", "4242"),
    "pm_card_mastercard": Card("mastercard", "4444"),
    "pm_card_amex": Card("amex", "8431"),
    "pm_card_chargeDeclined": Card("visa", "0002", "card_declined", "generic_decline"),
    "pm_card_visa_chargeDeclined": Card("visa", "0002", "card_declined", "generic_decline"),
    "pm_card_chargeDeclinedInsufficientFunds": Card("visa", "9995", "card_declined", "insufficient_funds"),
    "pm_card_visa_chargeDeclinedInsufficientFunds": Card("visa", "9995", "card_declined", "insufficient_funds"),
    "pm_card_visa_chargeDeclinedLostCard": Card("visa", "9987", "card_declined", "lost_card"),
    "pm_card_visa_chargeDeclinedStolenCard": Card("visa", "9979", "card_declined", "stolen_card"),
    "pm_card_chargeDeclinedExpiredCard": Card("visa", "0069", "expired_card", "expired_card"),
    "pm_card_chargeDeclinedIncorrectCvc": Card("visa", "0127", "incorrect_cvc", "incorrect_cvc"),
    "pm_card_chargeDeclinedProcessingError": Card("visa", "0119", "processing_error", "processing_error"),
    "pm_card_authenticationRequired": Card("visa", "3184", asks=True),
    "pm_card_authenticationRequiredOnSetup": Card("visa", "3155", asks=True),
    "pm_card_threeDSecure2Required": Card("visa", "3220", asks=True),
    "pm_card_createDispute": Card("visa", "0259", disputes=True),
}
NUMBERS = {
    "4242424242424242": "pm_card_visa",
    "5555555555554444": "pm_card_mastercard",
    "378282246310005": "pm_card_amex",
    "4000000000000002": "pm_card_chargeDeclined",
    "4000000000009995": "pm_card_chargeDeclinedInsufficientFunds",
    "4000000000009987": "pm_card_visa_chargeDeclinedLostCard",
    "4000000000000069": "pm_card_chargeDeclinedExpiredCard",
    "4000000000000127": "pm_card_chargeDeclinedIncorrectCvc",
    "4000002760003184": "pm_card_authenticationRequired",
    "4000000000003220": "pm_card_threeDSecure2Required",
    "4000000000000259": "pm_card_createDispute",
}
MESSAGES = {
    "card_declined": "Your card was declined.",
    "insufficient_funds": "Your card has insufficient funds.",
    "expired_card": "Your card has expired.",
    "incorrect_cvc": "Your card's security code is incorrect.",
    "processing_error": "An error occurred while processing your card. Try again in a little bit.",
    "payment_intent_authentication_failure": "We are unable to authenticate your payment method. "
    "Please choose a different payment method and try again.",
}


def named(token: str) -> str:
    """The test card behind a payment method: a token, or one that the hosted fields have made (`pm_<random>_<token's end>`)."""
    if token in CARDS:
        return token
    name = f"pm_card_{token.rpartition('-')[2]}"
    return name if token.startswith("pm_") and "-" in token and name in CARDS else ""


def effect(card: Card) -> str:
    """What becomes of a charge, in words."""
    if card.code:
        return f"declined: `{card.code}`, `{card.decline_code}`"
    if card.asks:
        return "asks the payer to authenticate first"
    return "paid, then disputed as fraudulent" if card.disputes else "paid"


def message(code: str, decline_code: str) -> str:
    return MESSAGES.get(decline_code) or MESSAGES.get(code, "Your card was declined.")
