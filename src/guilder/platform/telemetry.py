"""Logs and metrics.

Logs are JSON lines on standard error, each with the context of the work (env, request, root, book, business line, actor).
Metrics are Prometheus's; the processes of one machine write to a shared folder, and the supervisor serves their sum.
"""

import logging
import re
import sys
import traceback

import msgspec
from prometheus_client import Counter, Gauge, Histogram

from guilder.core import ids
from guilder.platform import context

_encode = msgspec.json.Encoder().encode
_SECRET = re.compile(
    r"\b(?:sk|rk|pk)_(?:test|live)_[0-9A-Za-z]{8,}|\b(?:us|sv|it)_[0-9A-Za-z]{32}|whsec_[0-9A-Za-z+/=]{8,}|-----BEGIN [A-Z ]+-----"
)

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

REQUESTS = Histogram("guilder_request_seconds", "API requests", ["route", "status"], buckets=BUCKETS)
BATCH = Histogram("guilder_batch_items", "Items in a batch", ["lane"], buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512))
BUSY = Counter("guilder_busy_total", "Calls refused because a lane's queue was full", ["lane"])
CHANNEL = Histogram("guilder_channel_seconds", "Calls to channels", ["channel", "op", "outcome"], buckets=BUCKETS)
RECORDED = Counter("guilder_recorded_total", "What channels said, by door and resulting state", ["door", "state"])
CALLBACKS = Counter("guilder_callbacks_total", "Callbacks from channels", ["channel", "outcome"])
CASES = Counter("guilder_cases_total", "Exceptions opened for a person", ["kind"])
WEBHOOKS = Histogram("guilder_webhook_seconds", "Deliveries to merchants", ["outcome"], buckets=BUCKETS)
OUTBOX_AGE = Gauge(
    "guilder_outbox_age_seconds", "Age of the oldest undelivered event", ["env"], multiprocess_mode="livemax"
)
UNSEALED_AGE = Gauge(
    "guilder_ledger_unsealed_age_seconds",
    "Age of the oldest journal that no seal covers",
    ["env"],
    multiprocess_mode="livemax",
)
ORDERS = Gauge(
    "guilder_posting_orders", "Journals that wait to be posted in another book", ["env"], multiprocess_mode="livemax"
)
ORDERS_AGE = Gauge(
    "guilder_posting_orders_age_seconds",
    "Age of the oldest of them: some seconds",
    ["env"],
    multiprocess_mode="livemax",
)
SIGN_INS = Counter("guilder_sign_ins_total", "Tries to sign in, by what became of them", ["outcome"])
BREAKER = Gauge(
    "guilder_channel_state",
    "How channel accounts stand: 0 well, 1 being probed, 2 left alone, 3 paused by an operator",
    ["env", "channel_account"],
    multiprocess_mode="livemax",
)
BREAKER_MOVES = Counter("guilder_breaker_moves_total", "Moves of the breakers of channel accounts", ["became"])
ROUTED = Counter("guilder_routed_total", "Payments by how their channel account was chosen", ["how"])
ELSEWHERE = Counter(
    "guilder_elsewhere_total",
    "Tries that went on at another channel account, for the first certainly did nothing",
    ["why"],
)
HOOKS = Counter(
    "guilder_hooks_total", "Questions and steps of plug-ins, by what came of them", ["plugin", "point", "became"]
)
RULES_SKIPPED = Counter(
    "guilder_routing_rules_skipped_total", "Routing rules that could not be worked out for a payment", ["rule"]
)
SWEPT = Counter("guilder_swept_total", "Things handled by background loops", ["loop"])


def redact(text: str) -> str:
    """`text` without anything that looks like a secret of ours, and fit to be written: a log line is not lost to half a character."""
    return _SECRET.sub("[secret]", text).encode("utf-8", "backslashreplace").decode()


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "at": self.formatTime(record, "%Y-%m-%dT%H:%M:%S") + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "from": record.name,
            "message": redact(record.getMessage()),
        }
        about = context.peek()
        if about is not None:
            line["root"] = ids.text(about.root_id)
            for name in ("env", "request_id", "business_line", "actor", "traceparent"):
                if value := getattr(about, name):
                    line[name] = value
            if about.book_id is not None:
                line["book"] = ids.text(about.book_id)
        if record.exc_info and record.exc_info[0] is not None:
            line["trace"] = redact("".join(traceback.format_exception(*record.exc_info)))
        return _encode(line).decode()


def start_logging(process: str, level: str = "INFO") -> None:
    """Send every log line to standard error as JSON."""
    import time

    handler = logging.StreamHandler(sys.stderr)
    formatter = JsonLines()
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("guilder").info("%s started", process)
