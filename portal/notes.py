"""What a worker noted of uses and sign-ins is in the database a moment later.

The first note of a second is written by the request that makes it; those after it wait in memory,
and must not wait for whatever request comes next.
"""

import logging
import threading
import time

from flask import Flask

from portal.database import database
from portal.oauth.authorization_server import PortalServer

SECONDS = 1.0

log = logging.getLogger(__name__)


def start(app: Flask) -> None:
    """Write them from now on in a thread that ends with the process."""
    server = app.extensions["portal.oauth"]
    threading.Thread(target=_go_on, args=(server,), name="notes", daemon=True).start()


def write(server: PortalServer) -> None:
    """Write what this process has noted by now."""
    server.uses.write()
    server.usage.write()


def _go_on(server: PortalServer) -> None:
    while True:
        time.sleep(SECONDS)
        try:
            write(server)
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            log.error("notes of uses were not written: %s: %s", type(error).__name__, reason)
        finally:
            # An open connection is one that requests cannot have.
            database.close()
