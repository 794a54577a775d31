"""Log lines on standard error: as text or as JSON, each with the id of its request."""

import logging
import logging.config
import time
from contextvars import ContextVar
from typing import Any

from pythonjsonlogger.json import JsonFormatter

from portal.settings import Settings

#: The id of the request that is being answered here; empty outside of one.
request_id: ContextVar[str] = ContextVar("request_id", default="")

ACCESS = "portal.access"
#: Below a warning they write tokens, SQL parameters and the addresses of one-time links.
TALKATIVE = ("authlib", "peewee", "psycopg", "urllib3", "werkzeug")
#: All that a line may have, in this order.
FIELDS = (
    *("time", "level", "logger", "message", "request_id"),
    *("method", "route", "status", "duration_ms", "client", "exception"),
)


class JsonLines(JsonFormatter):
    """One object a line; `time` is RFC 3339, `duration_ms` is milliseconds."""

    def __init__(self) -> None:
        renamed = {"levelname": "level", "name": "logger", "exc_info": "exception"}
        super().__init__(["levelname", "name", "message"], rename_fields=renamed, timestamp="time")

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        found = {**log_data, "request_id": request_id.get()}
        return {name: found[name] for name in FIELDS if found.get(name) not in (None, "")}


class TextLines(logging.Formatter):
    """A line for people; what was logged cannot look like another line."""

    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(request_id)s %(message)s")
        self.converter = time.gmtime

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.request_id = request_id.get() or "-"
        return super().formatMessage(record).replace("\r", "\\r").replace("\n", "\\n")


def hush() -> None:
    """Keep other people's code from writing down what it handles, whatever the level is."""
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)


def configure(settings: Settings) -> None:
    """Send the log of this process to standard error."""
    logging.config.dictConfig(dictconfig(settings))
    hush()


def dictconfig(settings: Settings) -> dict[str, Any]:
    """The set-up in the form of `logging.config`: the level is for Portal's own lines.

    Everybody else's begin at warnings: a list of names alone would miss the next library.
    """
    level = settings.log_level.upper()
    others = max(logging.getLevelName(level), logging.WARNING)
    lines = "JsonLines" if settings.log == "json" else "TextLines"
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"lines": {"()": f"portal.logs.{lines}"}},
        "handlers": {
            "stderr": {
                "class": "logging.StreamHandler",
                "formatter": "lines",
                "stream": "ext://sys.stderr",
            }
        },
        "root": {"level": others, "handlers": ["stderr"]},
        "loggers": {
            "portal": {"level": level},
            ACCESS: {"level": "INFO"},
            "uvicorn": {"level": "ERROR"},  # its warnings are what strangers send
        },
    }
