"""What a merchant asks of the gateway, read strictly, and how it is told that it cannot be."""

import re
from dataclasses import dataclass
from typing import Any

from guilder.simulators.model import Account

Content = dict[str, Any]
_AMOUNT = re.compile(r"(\d{1,9})(?:\.(\d{1,2}))?")
_MESSAGES = {
    "20000": "Service Currently Unavailable",
    "40001": "Missing Required Arguments",
    "40002": "Invalid Arguments",
    "40004": "Business Failed",
}


class Failed(Exception):
    """The operation failed: code, sub_code, sub_msg and msg of the reply."""

    def __init__(self, code: str, sub_code: str, sub_msg: str, msg: str = "") -> None:
        super().__init__(sub_code)
        self.code, self.sub_code, self.sub_msg = code, sub_code, sub_msg
        self.msg = msg or _MESSAGES[code]

    def content(self) -> Content:
        """As an answer."""
        return {"code": self.code, "msg": self.msg, "sub_code": self.sub_code, "sub_msg": self.sub_msg}


def business(sub_code: str, sub_msg: str) -> Failed:
    """Code 40004."""
    return Failed("40004", sub_code, sub_msg)


@dataclass(frozen=True, slots=True)
class Ask:
    """A verified request."""

    account: Account
    content: dict[str, object]
    params: dict[str, str]  # everything else that was sent
    address: str

    @property
    def notify_url(self) -> str:
        return self.params.get("notify_url", "")

    def text(self, name: str, *, must: bool = False) -> str:
        """A parameter of biz_content, '' if absent.  Raises Failed if it must be there."""
        value = self.content.get(name)
        if value is None or value == "":
            if must:
                raise Failed("40001", f"isv.missing-{name.replace('_', '-')}", f"缺少参数{name}")
            return ""
        return str(value)

    def fen(self, name: str) -> int:
        """An amount in yuan as fen.  Raises Failed on nonsense or nothing."""
        match = _AMOUNT.fullmatch(self.text(name, must=True))
        fen = int(match[1]) * 100 + int((match[2] or "").ljust(2, "0")) if match else 0
        if fen < 1:
            raise business("ACQ.INVALID_PARAMETER", f"参数无效：{name}")
        return fen
