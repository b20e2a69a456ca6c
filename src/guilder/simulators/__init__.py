"""WeChat Pay, Alipay, UnionPay, Stripe and PayPal, simulated: what every test key talks to.

    python -m guilder.simulators --host 127.0.0.1 --port 8002 --data DIR [--fd N]

One process, one port.  WeChat Pay answers under `/v3/...`, Alipay under `/gateway.do`, UnionPay under `/gateway/api/...`, Stripe under
`/v1/...`, PayPal under `/v1/...` and `/v2/...` of its own, the payer's phone under `/phone?code=...`, and tests turn the world under
`/sim/...` (JSON, loopback only, no authentication).  `/health`
answers 200 when the book is open.  `--fd` takes an inherited listening socket.  SIGTERM ends it; so may `kill -9`:
whatever was answered is in the book (`DIR/book.sqlite3`, tables in `schema.sql`), and what was still to come,
callbacks, refunds in progress, late successes, comes after the restart.

The simulators share no code with Guilder's adapters, so that both cannot make the same mistake, and are held by
clients that nobody here wrote (`tests/clients`).

Control API.  Errors are `{"error": text}` with 400, 403 or 404.

    POST /sim/accounts {channel: "wechatpay"|"alipay"|"unionpay"|"stripe"|"paypal", name?, trust?: "public_key"|"certificate",
                        options?: {name: text}}
         -> {id, channel, name, config}                 `id` is the mchid (sub_mchid in partner mode) or app_id
         options of wechatpay: trust, mode: "direct"|"partner", partner: a sub_mchid whose service provider it shall be
         config of wechatpay: base_url oauth_url mchid appid app_secret serial_no private_key apiv3_key trust public_key_id
                              public_key mode, and sub_mchid sub_appid, or transfer_scene_id transfer_report
         config of alipay:    gateway app_id seller_id private_key oauth_url, then alipay_public_key or, with `trust` certificate,
                              mode app_cert alipay_cert root_cert; with options {partner: "1"} app_auth_token too  (keys are PEM)
         config of unionpay:  base_url file_url mer_id private_key certificate root_certificate middle_certificate stage
         config of paypal:    base_url client_id client_secret merchant_id webhook_id currency certificates_at authority
                              reports_at reports_token; option currency: what the account takes, USD unless said
    GET  /sim/accounts -> {accounts: [the same]}
    POST /sim/pay {code | account + out_trade_no, action?: "pay"|"decline"|"walk", payer?, channel?}
         -> {account, out_trade_no, state}              state: made waiting paid declined closed
         `code` is a code_url, a qr_code, a page's code, a trade_no that waits in Alipay's wallet, or the whole URL of an
         alipay.trade.page.pay, wap.pay or app.pay request
    GET  /sim/clock -> {now_ms, offset_s}
    POST /sim/clock {offset_s} or {now: "2026-01-31T23:59:59+08:00"} -> the same
         business time only: timestamps inside signatures stay real
    POST /sim/dials {account, dials: {"[op:]name": {probability?, next?, seconds?}}} -> {dials: all that are turned}
         without probability (0 to 1) and next (so many times) a dial always strikes; others stay as they are
    GET  /sim/dials?account= -> {dials}        DELETE /sim/dials?account= -> {dials: {}}
    GET  /sim/fired?account= -> {fired: {"op:name": how often, ever}}
    GET  /sim/book?account=&out_trade_no=&channel=&after= -> {trades: [...], after: text | null}
         at most 1000; ask again with `after` for more.  A trade has the columns of its table and
         refunds: [columns], callbacks: [columns, fact: {...}, attempts: [{at, status, taken, forged, answer}]]
    POST /sim/accounts/{id}/endpoint {url} -> {account, url}
         where its callbacks go, at channels whose calls do not say (Stripe, PayPal)
    GET  /sim/payouts?account= -> {payouts: [columns]}
    POST /sim/alipay/{id}/renew -> {alipay_cert_sn}    from now on Alipay's other certificate signs for this account
    POST /sim/accounts/{id}/close-day {day: "2026-01-31", remove?: n | [key], change?: n | {key: delta}, add?: n,
                                       corrupt?: "hash"|"totals"|"truncate"}
         -> {day, rows, removed: [key], changed: [{key, delta}], added: [key], corrupt}
         freezes the Beijing day's statement so that it can be fetched at once; again replaces it.  A key is the
         out_trade_no of a payment or the out_refund_no of a refund; deltas are fen; totals follow the rows

Dials for one payment stand in WeChat's `attach` or Alipay's `passback_params`, as in
`sim:query:silence_after*2,callback_late=3`, or in a magic amount.  See `dials.py`, which has them all.
"""
