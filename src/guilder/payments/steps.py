"""What the payer is to do next, as the API says it (ADR 0002)."""

from typing import Any

from guilder.channels.info import Shows
from guilder.channels.model import Form, Next, QrCode, Redirect, Sdk
from guilder.payments.model import Attempt, Intent
from guilder.payments.present import Face
from guilder.payments.ways import TYPE


def show(face: Face, intent: Intent, attempt: Attempt, step: Next) -> dict[str, Any]:
    """`next_action` of the dialect.  A form to post has the key `form` beside it, for the cashier, which posts it: see `told`."""
    page, type = face.pay_url(intent.book_id, intent.id), TYPE[attempt.channel, attempt.way]
    match step:
        case QrCode():
            return _of(f"{type}_display_qr_code", {
                "data": step.data,
                "hosted_instructions_url": page,
                "image_data_url": None,
                "image_url_png": f"{page}/qr.png",
                "image_url_svg": f"{page}/qr.svg",
            })  # fmt: skip
        case Redirect():
            return _elsewhere(type, step.url, attempt.return_url)
        case Form():
            posted = {"form": {"url": step.url, "fields": dict(step.fields)}}
            return _elsewhere(type, f"{page}/go", attempt.return_url) | posted
        case Sdk(kind="alipay_app"):
            return _elsewhere(type, page, attempt.return_url, native_data=step.params["order_string"])
        case Sdk():
            return _of(step.kind, {**step.params, "hosted_instructions_url": page})


def ours(face: Face, intent: Intent, attempt: Attempt, shows: Shows) -> dict[str, Any]:
    """`next_action` while the channel has not been asked: our own page, which has what the channel gives as soon as it gave it."""
    page, type = face.pay_url(intent.book_id, intent.id), TYPE[attempt.channel, attempt.way]
    return show(face, intent, attempt, QrCode(page)) if shows == "qr" else _elsewhere(type, page, attempt.return_url)


def told(action: dict[str, Any]) -> dict[str, Any]:
    """What of it the API shows."""
    return {name: value for name, value in action.items() if name != "form"}


def sdk(step: Next) -> dict[str, Any] | None:
    """What somebody who is paid has to do first, where that is a call of the channel's own code."""
    return _of(step.kind, dict(step.params)) if isinstance(step, Sdk) else None


def _elsewhere(type: str, url: str, return_url: str | None, native_data: str | None = None) -> dict[str, Any]:
    if type == "alipay":
        return _of(
            "alipay_handle_redirect",
            {"url": url, "return_url": return_url, "native_url": None, "native_data": native_data},
        )
    return _of("redirect_to_url", {"url": url, "return_url": return_url})


def _of(type: str, body: dict[str, Any]) -> dict[str, Any]:
    return {"type": type, type: body}
