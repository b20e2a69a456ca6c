"""Logs: JSON lines that carry the chain of work, and no secret."""

import json
import logging
import sys

import pytest

from guilder.core import ids
from guilder.platform import context, telemetry


def line(message: str, *args: object, **more: object) -> dict[str, object]:
    record = logging.LogRecord(
        "guilder.trial", logging.WARNING, __file__, 1, message, args, **({"exc_info": None} | more)
    )
    text = telemetry.JsonLines().format(record)
    assert "\n" not in text
    return json.loads(text)


def test_a_line_carries_its_chain_of_work() -> None:
    about = context.mint(
        env="test", request_id="req_1", actor="key:1", business_line="tea", book_id=ids.new_id(), traceparent="00-a"
    )
    with context.use(about):
        told = line("served %s", "tea")

    assert told.pop("at").endswith("Z")
    assert told == {
        "level": "warning", "from": "guilder.trial", "message": "served tea", "root": ids.text(about.root_id), "env": "test",
        "request_id": "req_1", "business_line": "tea", "actor": "key:1", "traceparent": "00-a",
        "book": ids.text(about.book_id),
    }  # fmt: skip


@pytest.mark.parametrize(
    "secret",
    ["sk_test_4eC39HqLyjWDarjtT1zdp7dc", "rk_live_4eC39HqLyjWDarjtT1zdp7dc", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
     "-----BEGIN RSA PRIVATE KEY-----", "us_4eC39HqLyjWDarjtT1zdp7dc4eC39HqL", "sv_4eC39HqLyjWDarjtT1zdp7dc4eC39HqL",
     "it_4eC39HqLyjWDarjtT1zdp7dc4eC39HqL"],
)  # fmt: skip
def test_no_secret_is_in_a_line_or_its_trace(secret: str) -> None:
    try:
        raise ValueError(f"bad key {secret}!")
    except ValueError:
        told = line("refused %s", secret, exc_info=sys.exc_info())

    assert secret not in json.dumps(told)
    assert told["message"] == "refused [secret]"


def test_a_message_cannot_forge_a_line() -> None:
    assert line('a\n{"level": "info"}\x1b[31m')["message"] == 'a\n{"level": "info"}\x1b[31m'


def test_what_is_no_text_is_logged_all_the_same() -> None:
    assert "caf" in str(line("caf\udce9")["message"])
