"""The conformance suite: what every channel passes, ours and other packages', against something that plays its other side.

    guilder channel check bank_transfer [--simulator URL]

The other side is anything that speaks the simulators' control API (`POST /sim/accounts`, `/sim/accounts/{id}/endpoint`, `/sim/pay`, `/sim/dials`,
`/sim/accounts/{id}/close-day`, `GET /sim/book`): a channel that comes by the entry point `guilder.simulators` is served by the simulators
themselves.  Needs pytest: the extra `guilder[conformance]`.
"""
