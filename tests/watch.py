"""What is running, told every minute: whoever waits for a long run sees where it is, and a log that was cut says what it was at."""

import os
import threading
import time

import pytest

EVERY_S = 60


class Watch:
    """Listens to the reports of a run, in the process that prints them."""

    def __init__(self) -> None:
        self.begun, self.done = time.monotonic(), 0
        self.running: dict[str, float] = {}  # by test: since when
        self.over = threading.Event()
        self.screen = os.dup(2)  # while pytest captures what tests print

    def pytest_sessionstart(self) -> None:
        threading.Thread(target=self._tell, daemon=True).start()

    def pytest_sessionfinish(self) -> None:
        self.over.set()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.running[nodeid] = time.monotonic()

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self.running.pop(nodeid, None)
        self.done += 1

    def _tell(self) -> None:
        while not self.over.wait(EVERY_S):
            now = time.monotonic()
            at = ", ".join(f"{name} ({now - since:.0f} s)" for name, since in list(self.running.items()))
            minutes, seconds = divmod(int(now - self.begun), 60)
            os.write(
                self.screen,
                f"\n… {minutes}:{seconds:02d}, {self.done} tests done; now {at or 'between two'}\n".encode(),
            )


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # a worker of xdist tells the process that started it
        config.pluginmanager.register(Watch())
