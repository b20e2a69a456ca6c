"""localstripe, unmodified, on a socket that it inherits (by itself it listens to the world) and without its file in /tmp."""

import socket
import sys

from aiohttp import web
from localstripe.resources import Store
from localstripe.server import app

Store.dump_to_disk = lambda store: None
web.run_app(app, sock=socket.socket(fileno=int(sys.argv[1])), print=None)
