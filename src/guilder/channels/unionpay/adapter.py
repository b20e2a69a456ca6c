"""The adapter: asks become signed forms, verified replies become outcomes.

Pages.      No call at all: the payer's browser posts a signed form.
Keys.       `orderId` with `txnTime` names an order.  Both are the same at every repetition; the second answer is then 12, "a repetition",
            and what lives under the key tells the rest.  A QR code or tn is given once only.
Closing.    There is none: an order ends with its payTimeout.  Until then "there is none" and "declined" of an order that a payer has
            before him mean "not yet", for he may try another card.
Cancelling. A payment of the same settlement day (23:00 to 23:00) is voided; a later one is answered as what it is, paid.
"""

import binascii
import zlib
from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import ClassVar
from urllib.parse import parse_qsl, urlencode

from guilder.channels.conclude import Doubtful, conclude, look_first
from guilder.channels.config import http_address
from guilder.channels.info import Info
from guilder.channels.model import (
    Ask,
    BadSignature,
    ClosePayment,
    CreatePayment,
    CreateRefund,
    FetchStatement,
    Form,
    Inbound,
    Next,
    Notice,
    Outcome,
    QrCode,
    QueryPayment,
    QueryRefund,
    Sdk,
    State,
    Statement,
    StatementError,
    StatementProblem,
    Subject,
    Unreadable,
)
from guilder.channels.reading import each_once
from guilder.channels.signing import Signer
from guilder.channels.unionpay import states
from guilder.channels.unionpay.config import UnionPayConfig
from guilder.channels.unionpay.sign import Value, read_reply, signed_text
from guilder.channels.unionpay.statement import MAX_PACKED, read_statement
from guilder.channels.unionpay.states import ACCEPTED, NOT_EXIST, NOT_YET_FINAL, OK, Said, write_time
from guilder.channels.unionpay.trust import Trust, Untrusted, read_certificate
from guilder.channels.unionpay.ways import BACK, BARCODE, GATEWAY, INFO, PRODUCT, QUERY_PATH, Memo, over_at
from guilder.core.check import must, never
from guilder.core.clock import BEIJING, now
from guilder.core.exchange import Exchange, HttpCall, HttpReply, NotSent, Silence

_MAX_FIELDS = 200
_NOT_IN_TEXT = str.maketrans("&=+{}[]\r\n\t", " " * 10)  # UnionPay's own parsers trip over them
_TELL_NOBODY = "http://www.specialUrl.com"  # the documentation's word for "no callback"
_DOWNLOAD_TIMEOUT_S = 120.0
_FORM = {"Content-Type": "application/x-www-form-urlencoded;charset=UTF-8", "User-Agent": "guilder"}


class UnionPay:
    """Speaks for one merchant.  Raises ValueError if a key or certificate cannot be read."""

    info: ClassVar[Info] = INFO

    def __init__(self, config: UnionPayConfig, *, now: Callable[[], datetime] = now) -> None:
        self.config = config
        self._base = http_address("base_url", config.base_url) + "/gateway/api/"
        self._files = http_address("file_url", config.file_url) + "/"
        self._now = now
        self._signer = Signer(config.private_key)
        self._cert_id = str(read_certificate(config.certificate, "certificate").serial_number)
        self._trust = Trust(config.root_certificate, config.middle_certificate, config.stage)

    def ask(self, ask: Ask) -> Exchange[Outcome]:
        """Carry out one ask: see `model.Channel`."""
        return conclude(ask, self._answer(ask))

    def _answer(self, ask: Ask) -> Exchange[Outcome]:
        match ask:
            case CreatePayment(way="page" | "wap"):
                return self._page(ask)
            case CreatePayment():
                return self._create(ask)
            case QueryPayment():
                return self._query(ask)
            case ClosePayment(cancel=True):
                return self._cancel(ask)
            case ClosePayment():
                return self._close(ask)
            case CreateRefund():
                return self._refund(ask)
            case QueryRefund():
                return self._query_refund(ask)
        never("every ask that is declared is answered")

    # --- payments

    def _page(self, ask: CreatePayment) -> Exchange[Outcome]:
        fields = self._signed(self._order(ask))
        if False:
            yield  # an exchange without a call
        memo = Memo.of_order(ask.expires_at)
        return Outcome(State.PENDING, next=Form(self._base + PRODUCT[ask.way].path, fields), memo=memo)

    def _create(self, ask: CreatePayment) -> Exchange[Outcome]:
        order = self._order(ask)
        said = yield from self._call(self._base + PRODUCT[ask.way].path, order)
        if said.resp_code in ACCEPTED:
            return _begun(ask, said, self.config.stage)
        query = QueryPayment(ask.key, ask.way, _created(ask.created_at))
        return (yield from self._refused(said, query))

    def _order(self, ask: CreatePayment) -> dict[str, str]:
        must(ask.amount.asset == "CNY", "the currency is the channel's")
        must(ask.way in PRODUCT, "the way is the channel's")
        product = PRODUCT[ask.way]
        description = ask.description.translate(_NOT_IN_TEXT)
        order = {
            **self._about(product.biz_type, product.channel_type, states.PAYMENT, product.sub_type),
            "orderId": ask.key,
            "txnTime": write_time(_created(ask.created_at)),
            "txnAmt": str(ask.amount.units),
            "currencyCode": "156",
            "backUrl": ask.notify_url,
            "orderDesc": description[:32],
            # It comes back in callbacks, and in the file of the day, where a bookkeeper reads it.
            "reqReserved": b64encode(ask.attach.encode()).decode() if ask.attach else description[:32],
        }
        if ask.way == "barcode":
            order["qrNo"] = ask.given["auth_code"]
            order["termId"] = ask.given.get("terminal_id", "")
        else:
            order["payTimeout"] = write_time(ask.expires_at)
        if product.biz_type == GATEWAY:
            order["riskRateInfo"] = f"{{commodityName={description[:64]}}}"
            order["frontUrl"] = ask.return_url or ""
        return order

    def _query(self, ask: QueryPayment) -> Exchange[Outcome]:
        product, memo = PRODUCT[ask.way], Memo.read(ask.memo)
        said = yield from self._ask_about(product.biz_type, ask.key, ask.created_at)
        code = said.orig_resp_code if said.resp_code == OK else said.resp_code
        found = _read(said, code, product.biz_type)
        over = self._now() >= over_at(ask.way, ask.created_at, memo)
        if ask.way == "barcode":
            return _scanned(found, code, over=over)
        return _shown(found, code, over=over, known=memo.until is not None)

    def _close(self, ask: ClosePayment) -> Exchange[Outcome]:
        """Ask: nothing closes an order.  Only what is over for certain is CLOSED."""
        found = yield from self._query(QueryPayment(ask.key, ask.way, ask.created_at, ask.memo))
        return replace(found, state=State.CLOSED) if found.state is State.FAILED else found

    def _cancel(self, ask: ClosePayment) -> Exchange[Outcome]:
        """Void what was paid in this settlement day; else as close."""
        product = PRODUCT[ask.way]
        said = yield from self._ask_about(product.biz_type, ask.key, ask.created_at)
        paid = _read(said, said.orig_resp_code if said.resp_code == OK else said.resp_code, product.biz_type)
        if paid.state is not State.SUCCEEDED or said.settle_date != self._settle_date():
            return (yield from self._close(ask))
        # Of 32 characters, for the files have no room for more; our keys know no capitals.
        key, created_at = "V" + ask.key[1:], ask.created_at
        order = {
            **self._about(product.biz_type, product.channel_type, states.VOID, "00"),
            "orderId": key,
            "txnTime": write_time(created_at),
            "txnAmt": said.txn_amt,
            "currencyCode": "156",
            "backUrl": _TELL_NOBODY,
            "origQryId": said.query_id,
            "reqReserved": ask.key,
        }
        voided = yield from self._call(self._base + BACK, order)
        if voided.problem(voided.resp_code) and voided.resp_code not in states.ABOUT_THE_KEY:
            return paid
        found = yield from self._of_refund(product.biz_type, key, created_at)
        match found.state:
            case State.SUCCEEDED:
                return Outcome(State.CLOSED, key=ask.key, channel_ref=paid.channel_ref)
            case State.FAILED:
                return paid
            case State.NOT_FOUND if voided.problem(voided.resp_code):
                return paid
        return Outcome(State.UNKNOWN)

    def _settle_date(self) -> str:
        """The settlement day of now, as UnionPay writes it."""
        return (self._now().astimezone(BEIJING) + timedelta(hours=1)).strftime("%m%d")

    # --- refunds

    def _refund(self, ask: CreateRefund) -> Exchange[Outcome]:
        must(ask.amount.asset == ask.payment_amount.asset == "CNY", "the currency is the channel's")
        paid, created_at = Memo.read(ask.payment_memo), _created(ask.created_at)
        biz_type = paid.biz_type or GATEWAY
        order = {
            **self._about(biz_type, "07", states.REFUND, "00"),
            "orderId": ask.key,
            "txnTime": write_time(created_at),
            "txnAmt": str(ask.amount.units),
            "currencyCode": "156",
            "backUrl": ask.notify_url,
            "reqReserved": ask.payment_key,  # callbacks and files say it, and so tell whose refund this is
        }
        if paid.query_id:
            order["origQryId"] = paid.query_id
        else:
            order["origOrderId"] = ask.payment_key
            order["origTxnTime"] = write_time(_created(ask.payment_created_at))
        said = yield from self._call(self._base + BACK, order)
        if said.resp_code in ACCEPTED:
            memo = Memo.of_payment(said.query_id, biz_type)
            return Outcome(State.PENDING, key=said.order_id or None, channel_ref=said.query_id or None, memo=memo)
        query = QueryRefund(ask.key, ask.payment_key, ask.amount, created_at, ask.payment_memo)
        return (yield from self._refused(said, query))

    def _query_refund(self, ask: QueryRefund) -> Exchange[Outcome]:
        biz_type = (Memo.read(ask.memo).biz_type or Memo.read(ask.payment_memo).biz_type) or GATEWAY
        return (yield from self._of_refund(biz_type, ask.key, _created(ask.created_at)))

    def _of_refund(self, biz_type: str, key: str, created_at: datetime) -> Exchange[Outcome]:
        said = yield from self._ask_about(biz_type, key, created_at)
        code = said.orig_resp_code if said.resp_code == OK else said.resp_code
        found = _read(said, code, biz_type)
        settling = self._now() < created_at + timedelta(hours=1)
        if found.state is State.FAILED and code in NOT_YET_FINAL and settling:
            return replace(found, state=State.PENDING)
        return replace(found, payer=None)

    def _refused(self, said: Said, query: QueryPayment | QueryRefund) -> Exchange[Outcome]:
        problem = said.problem(said.resp_code)
        if problem is None:
            raise Doubtful(said.resp_code, said.resp_msg)
        if said.resp_code in states.ABOUT_THE_KEY:
            return (yield from look_first(problem, lambda: self.ask(query)))
        return Outcome(State.FAILED, problem=problem)

    # --- calls

    def _ask_about(self, biz_type: str, key: str, created_at: datetime) -> Exchange[Said]:
        """The answer to a query; raises Doubtful unless it is about this order, or says that there is none."""
        question = {
            **self._about(biz_type, "07", "00", "00"),
            "orderId": key,
            "txnTime": write_time(created_at),
        }
        said = yield from self._call(self._base + QUERY_PATH[biz_type], question)
        if said.resp_code not in (OK, NOT_EXIST) or (said.resp_code == OK and not said.orig_resp_code):
            raise Doubtful(said.resp_code, said.resp_msg)
        if not said.order_id or said.txn_time not in ("", question["txnTime"]):
            raise Doubtful("another_order", f"asked about {key}, and the answer names no order, or one of another time")
        return said

    def _about(self, biz_type: str, channel_type: str, txn_type: str, sub_type: str) -> dict[str, str]:
        return {
            "version": "5.1.0",
            "encoding": "UTF-8",
            "signMethod": "01",
            "accessType": "0",
            "merId": self.config.mer_id,
            "bizType": biz_type,
            "channelType": channel_type,
            "txnType": txn_type,
            "txnSubType": sub_type,
        }

    def _signed(self, order: dict[str, str]) -> dict[str, str]:
        """The fields of a form.  None is empty, for an empty one would not be signed."""
        fields = {name: value for name, value in {**order, "certId": self._cert_id}.items() if value}
        text = signed_text({name: value.encode() for name, value in fields.items()})
        return {**fields, "signature": self._signer.sign(text)}

    def _call(self, url: str, order: dict[str, str]) -> Exchange[Said]:
        """One signed call and what its verified reply said; else NotSent, Silence or Doubtful is raised."""
        reply = yield HttpCall("POST", url, _FORM, urlencode(self._signed(order)).encode())
        said, _ = self._heard(reply)
        if said.order_id not in ("", order["orderId"]):
            raise Doubtful(
                "another_order", f"asked about {order['orderId']}, and the answer is about {said.order_id!r}"
            )
        return said

    def _heard(self, reply: HttpReply) -> tuple[Said, dict[str, Value]]:
        if reply.status != 200:
            raise Doubtful(f"HTTP_{reply.status}")
        try:
            fields = read_reply(reply.body)
            said = Said.of(fields)
        except ValueError as error:
            raise Doubtful("unreadable", str(error)) from error
        if not self._verified(fields):
            raise Doubtful("bad_signature", f"{said.resp_code}: the reply is not verifiably UnionPay's")
        return said, fields

    def _verified(self, fields: dict[str, Value]) -> bool:
        certificate, signature = bytes(fields.get("signPubKeyCert", b"")), bytes(fields.get("signature", b""))
        try:
            verifier = self._trust.verifier(certificate, self._now())
            return verifier.verify(signed_text(fields), signature.decode("ascii"))
        except (Untrusted, ValueError):
            return False

    def refresh_trust(self) -> Exchange[bool]:
        """Each message brings the certificate that it was signed with, so there is nothing to fetch.  What UnionPay hands out is the one
        that cardholders' data is encrypted for; we send none of it, and ask because its answer shows that both sides' keys are good."""
        at = write_time(self._now())
        question = {**self._about("000000", "08", "95", "00"), "orderId": f"KEY{at}", "txnTime": at, "certType": "01"}
        try:
            said = yield from self._call(self._base + BACK, question)
        except (NotSent, Silence, Doubtful):
            return False
        return said.resp_code == OK

    # --- callbacks

    def notice(self, inbound: Inbound) -> Notice:
        """Verify and read a callback: see `model.Channel`."""
        try:
            pairs = parse_qsl(
                inbound.body.decode("ascii"),
                keep_blank_values=True,
                strict_parsing=True,
                errors="strict",
                max_num_fields=_MAX_FIELDS,
            )
            fields: dict[str, Value] = {name: value.encode() for name, value in each_once(pairs).items()}
        except ValueError as error:
            raise BadSignature(f"not a form: {error}") from error
        if bytes(fields.get("signMethod", b"")) != b"01" or not self._verified(fields):
            raise BadSignature("the signature does not verify")
        try:
            return _told(Said.of(fields))
        except ValueError as error:
            raise Unreadable(str(error)) from error

    def ack(self, stored: bool) -> HttpReply:
        """HTTP 200 is a yes, whatever it says; anything else a no."""
        return HttpReply(200 if stored else 500, {"content-type": "text/plain"}, b"ok" if stored else b"fail")

    # --- files

    def statement(self, ask: FetchStatement) -> Exchange[Statement]:
        """The files of one settlement day, in one signed reply."""
        question = {
            **self._about("000000", "07", "76", "01"),
            "fileType": "00",
            "settleDate": ask.day.strftime("%m%d"),
            "txnTime": write_time(self._now()),
        }
        body = urlencode(self._signed(question)).encode()
        call = HttpCall("POST", self._files, _FORM, body, timeout_s=_DOWNLOAD_TIMEOUT_S, max_bytes=MAX_PACKED * 4 // 3)
        try:
            said, fields = self._heard((yield call))
        except (NotSent, Silence, Doubtful) as error:
            raise StatementError(StatementProblem.UNKNOWN, f"no answer: {error}") from error
        if said.resp_code == states.NO_FILE:
            raise StatementError(StatementProblem.EMPTY_DAY, said.resp_msg)
        if said.resp_code != OK:
            raise StatementError(StatementProblem.UNKNOWN, f"{said.resp_code}: {said.resp_msg}")
        return read_statement(ask.day, _unpacked(fields.pop("fileContent", b"")))


def _created(at: datetime | None) -> datetime:
    must(at is not None, "UnionPay knows orders by their time too")
    assert at is not None
    return at


def _begun(ask: CreatePayment, said: Said, stage: str) -> Outcome:
    """What the payer is shown of an order that was accepted."""
    shown: Next | None = None
    match ask.way:
        case "qr" if said.qr_code:
            shown = QrCode(said.qr_code)
        case "app" if said.tn:
            shown = Sdk("unionpay_app", {"tn": said.tn, "mode": "00" if stage == "production" else "01"})
        case "qr" | "app" if said.resp_code == OK:
            raise Doubtful("unreadable", "accepted, and there is nothing to show")
    memo = Memo.of_payment(said.query_id, PRODUCT[ask.way].biz_type)
    if ask.way != "barcode":
        memo = Memo.of_order(ask.expires_at)
    return Outcome(State.PENDING, key=said.order_id or None, next=shown, memo=memo)


def _read(said: Said, code: str, biz_type: str) -> Outcome:
    try:
        return said.outcome(code, Memo.of_payment(said.query_id, biz_type))
    except ValueError as error:
        raise Doubtful("unreadable", str(error)) from error


def _shown(found: Outcome, code: str, *, over: bool, known: bool) -> Outcome:
    """An order that a payer has before him: until it is over nothing but success is final, and then everything else is."""
    match found.state:
        case State.FAILED if not over:
            return replace(found, state=State.PENDING)
        case State.NOT_FOUND if over:
            return replace(found, state=State.CLOSED)
        case State.NOT_FOUND if known:
            return replace(found, state=State.PENDING)
        case State.PENDING if over and code == "05":  # accepted, and never paid
            return replace(found, state=State.CLOSED, memo=None)
        case State.PENDING:
            return replace(found, memo=None)  # what we know is more: the payTimeout
    return found


def _scanned(found: Outcome, code: str, *, over: bool) -> Outcome:
    """A payer who was scanned: refusals are final but for those that the bank may still take back."""
    if found.state is State.FAILED and code in NOT_YET_FINAL and not over:
        return replace(found, state=State.PENDING)
    if found.state is State.NOT_FOUND and over:
        return replace(found, state=State.CLOSED)
    return found


def _told(said: Said) -> Notice:
    """A callback.  UnionPay gives them no number; type, order and answer are the same in all repetitions."""
    event_id = ":".join((said.txn_type, said.order_id, said.txn_time, said.resp_code))
    outcome = said.outcome(said.resp_code, Memo.of_payment(said.query_id, said.biz_type or GATEWAY))
    if not said.order_id:
        raise ValueError("it names no order")
    if said.txn_type == states.PAYMENT:
        if outcome.state is State.NOT_FOUND:
            outcome = replace(outcome, state=State.UNKNOWN)
        if outcome.state is State.FAILED and said.txn_sub_type != BARCODE:
            outcome = replace(outcome, state=State.PENDING, memo=None)  # he may try another card
        return Notice(event_id, Subject.PAYMENT, outcome)
    if said.txn_type == states.REFUND:
        payment_memo = Memo.of_payment(said.orig_qry_id, said.biz_type or GATEWAY)
        return Notice(
            event_id, Subject.REFUND, replace(outcome, payer=None), said.req_reserved or None, payment_memo=payment_memo
        )
    raise ValueError(f"a callback of type {said.txn_type!r}")


def _unpacked(content: Value) -> bytes:
    """The zip inside fileContent: base64 of zlib of it."""
    try:
        unpacking = zlib.decompressobj()
        packed = unpacking.decompress(binascii.a2b_base64(content, strict_mode=True), MAX_PACKED)
        if unpacking.unconsumed_tail or not unpacking.eof:
            raise ValueError("it ends too early, or is too long")
        return packed
    except (binascii.Error, zlib.error, ValueError) as error:
        raise StatementError(StatementProblem.CORRUPT, f"fileContent cannot be unpacked: {error}") from error
