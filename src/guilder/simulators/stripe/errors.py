"""How Stripe refuses."""

from typing import Any

from guilder.simulators.replies import Said, say


class Refused(Exception):
    """The operation is refused: HTTP status, type and message; code, param and what else the error says."""

    def __init__(self, status: int, type: str, message: str, code: str = "", param: str = "", **more: Any) -> None:
        super().__init__(message)
        self.status = status
        self.error = {"type": type, "message": message} | {
            name: value for name, value in {"code": code, "param": param, **more}.items() if value
        }

    def said(self) -> Said:
        """As an answer."""
        return say({"error": self.error}, self.status)


def missing(kind: str, id: str, param: str = "id") -> Refused:
    """There is no such thing."""
    return Refused(404, "invalid_request_error", f"No such {kind}: '{id}'", "resource_missing", param)


def wrong_state(message: str, intent: dict[str, Any]) -> Refused:
    """The intent is not where this can be done."""
    code = "payment_intent_unexpected_state"
    return Refused(400, "invalid_request_error", message, code, payment_intent=intent)
