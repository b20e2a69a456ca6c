"""The life of a dispute, as data.

needs_response <--> under_review --> won | lost
"""

from guilder.channels.model import DisputeState

_S = DisputeState
DISPUTE_NEXT: dict[DisputeState, frozenset[DisputeState]] = {
    _S.NEEDS_RESPONSE: frozenset({_S.UNDER_REVIEW, _S.WON, _S.LOST}),
    _S.UNDER_REVIEW: frozenset({_S.NEEDS_RESPONSE, _S.WON, _S.LOST}),
    _S.WON: frozenset(),
    _S.LOST: frozenset(),
}
ENDED = frozenset({_S.WON, _S.LOST})
