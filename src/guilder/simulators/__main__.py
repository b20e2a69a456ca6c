"""Run the simulators: `python -m guilder.simulators --port 8002 --data DIR`."""

import argparse
import socket
import sys
from pathlib import Path

import uvicorn
import uvloop

from guilder.simulators.app import make_app
from guilder.simulators.line import Line


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="guilder.simulators", description="WeChat Pay and Alipay, simulated")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8002)
    parser.add_argument("--fd", type=int, help="an inherited listening socket, instead of host and port")
    parser.add_argument("--data", type=Path, required=True, help="where the book lives")
    options = parser.parse_args()
    try:
        uvloop.run(_serve(options))
    except BlockingIOError:
        sys.exit(f"guilder.simulators: another process is using {options.data}")


async def _serve(options: argparse.Namespace) -> None:
    config = uvicorn.Config(
        make_app(options.data),
        host=options.host,
        port=options.port,
        http=Line,
        ws="none",
        loop="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=1,
    )
    sockets = [socket.socket(fileno=options.fd)] if options.fd is not None else None
    await uvicorn.Server(config).serve(sockets=sockets)


if __name__ == "__main__":
    main()
