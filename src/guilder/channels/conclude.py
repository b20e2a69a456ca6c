"""What silence, doubt and refusals amount to: rules C1 to C3, once for all adapters.

    def ask(self, ask):
        return conclude(ask, self._answer(ask))

`_answer` speaks with the channel and raises `Doubtful` where the reply settles nothing.
"""

from collections.abc import Callable
from dataclasses import replace

from guilder.channels.model import DOING, Ask, Outcome, Problem, Retry, State
from guilder.core.exchange import Exchange, NotSent, Silence

NOT_SENT = Problem("not_sent", "The channel could not be reached.", "processing_error", Retry.SAME_KEY)


class Doubtful(Exception):
    """The channel answered, and the answer settles nothing: a server error, an unlisted code, a signature that fails."""

    def __init__(self, channel_code: str, message: str = "") -> None:
        self.problem = Problem(channel_code, message, "processing_error", Retry.SAME_KEY)
        super().__init__(f"{channel_code}: {message}" if message else channel_code)


def conclude(ask: Ask, answer: Exchange[Outcome]) -> Exchange[Outcome]:
    """Carry `answer` through to an outcome, whatever the network and the channel do."""
    try:
        return (yield from answer)
    except NotSent:
        doing = isinstance(ask, DOING)
        return Outcome(State.FAILED if doing else State.UNKNOWN, problem=NOT_SENT)
    except Silence:
        return Outcome(State.UNKNOWN)
    except Doubtful as doubt:
        return Outcome(State.UNKNOWN, problem=doubt.problem)


def look_first(problem: Problem, query: Callable[[], Exchange[Outcome]]) -> Exchange[Outcome]:
    """A refusal that may be about the key itself ("used already", "paid already"): what lives under the key decides.

    Nothing lives there: the refusal stands, FAILED.  Something does: its state.  No clear answer: UNKNOWN.
    """
    found = yield from query()
    if found.state is State.NOT_FOUND:
        return Outcome(State.FAILED, problem=problem)
    return replace(found, problem=found.problem or problem)
