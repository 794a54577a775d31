"""The yardstick: the least that Flask can answer, on the server that Portal runs on."""

import sys

from flask import Flask
from granian import Granian
from granian.constants import Interfaces
from granian.log import LogLevels

app = Flask(__name__)
TEXT = "Hello, world!"


@app.get("/")
def hello() -> str:
    return TEXT


def main(port: int, workers: int, threads: int) -> None:
    Granian(
        "bench.hello:app",
        address="127.0.0.1",
        port=port,
        interface=Interfaces.WSGI,
        workers=workers,
        blocking_threads=threads,
        websockets=False,
        log_access=False,
        log_level=LogLevels.error,
    ).serve()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
