"""Loaded by Python itself when this folder is in PYTHONPATH: samples the stack of a process by CPU time, between two SIGUSR2.

ITIMER_PROF runs on CPU time, so a process that waits is not seen.  The handler runs between bytecodes: what C does is counted
for the Python function that called it.
"""

import os
import signal
import sys
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType

EVERY_S = 0.004

_folder = os.environ.get("BENCH_SAMPLES", "")
_stacks: Counter[tuple[CodeType, ...]] = Counter()
_running = False


def _sample(_number: int, frame: FrameType | None) -> None:
    stack = []
    while frame is not None:
        stack.append(frame.f_code)
        frame = frame.f_back
    _stacks[tuple(reversed(stack))] += 1


def _turn(_number: int, _frame: FrameType | None) -> None:
    global _running
    _running = not _running
    pause = EVERY_S if _running else 0.0
    signal.setitimer(signal.ITIMER_PROF, pause, pause)
    if _running:
        return
    lines = [";".join(map(_named, stack)) + f" {count}\n" for stack, count in _stacks.items()]
    _stacks.clear()
    draft = Path(_folder) / f"{os.getpid()}.draft"
    draft.write_text("".join(lines))
    draft.rename(draft.with_suffix(".stacks"))


def _named(code: CodeType) -> str:
    file = code.co_filename
    for mark in ("/site-packages/", "/src/", "/lib/python3"):
        _, found, rest = file.partition(mark)
        if found:
            return f"{rest}:{code.co_firstlineno} {code.co_qualname}"
    return f"{file}:{code.co_firstlineno} {code.co_qualname}"


if _folder and any(
    word.startswith("guilder.") and word not in ("guilder.app", "guilder.app.cli") for word in sys.orig_argv
):
    signal.signal(signal.SIGUSR2, _turn)
    signal.signal(signal.SIGPROF, _sample)
