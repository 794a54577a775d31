"""What Prometheus counts here, and GET /metrics, where it comes to fetch it.

Every label has few values: names of routes, reasons and grants, never what somebody sent.
"""

import fcntl
import hmac
import os
import platform
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from flask import Flask, Response, abort, current_app, request
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Histogram,
    Metric,
    disable_created_metrics,
    generate_latest,
    values,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from portal.clock import now
from portal.health import OK, current_readiness
from portal.settings import Settings

#: Where the library keeps the counts of several processes together; its name, not ours.
SHARED = "PROMETHEUS_MULTIPROC_DIR"
#: From a token, below a millisecond, to an answer that waited for the database.
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5)

FOLDER = "portal-metrics-"
NEW_SECONDS = 10

disable_created_metrics()
REGISTRY = CollectorRegistry()

# Each is called with its labels: `tokens_issued("refresh_token").inc()`. The cache matters:
# finding the child costs the library more than counting.
request_seconds = cache(
    Histogram(
        "portal_request_seconds",
        "Seconds that answers took, by route and status.",
        ["endpoint", "status"],
        registry=REGISTRY,
        buckets=SECONDS,
    ).labels
)
tokens_issued = cache(
    Counter(
        "portal_tokens_issued_total",
        "Access tokens issued, by grant.",
        ["grant"],
        registry=REGISTRY,
    ).labels
)
refusals_counted = cache(
    Counter(
        "portal_refusals_total",
        "Requests of applications refused, by reason.",
        ["reason"],
        registry=REGISTRY,
    ).labels
)
sign_ins_tried = cache(
    Counter(
        "portal_sign_ins_total",
        "Tries to sign in with a password, by outcome.",
        ["outcome"],
        registry=REGISTRY,
    ).labels
)


class NoFolder(Exception):
    """There is no folder for temporary files that this process may write to."""


def init_app(app: Flask) -> None:
    if SHARED in os.environ and values.ValueClass is values.MutexValue:
        # A worker that was forked: the library chose when the parent loaded it.
        values.ValueClass = values.get_value_class()
    app.add_url_rule("/metrics", view_func=metrics)


@contextmanager
def shared_between_workers(settings: Settings) -> Iterator[None]:
    """Let the processes that start inside count together, when anybody may read it.

    Raises NoFolder when there is none for temporary files.
    """
    if not settings.metrics_token:
        yield
        return
    _clear_what_the_killed_left()
    try:
        folder = os.environ[SHARED] = tempfile.mkdtemp(prefix=FOLDER)
    except OSError:
        raise NoFolder from None
    # Held by this process and the workers that it forks; the kernel lets go when all are gone.
    handle = os.open(folder, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_SH)
    try:
        yield
    finally:
        os.close(handle)
        del os.environ[SHARED]
        shutil.rmtree(folder, ignore_errors=True)


def _clear_what_the_killed_left() -> None:
    """Delete this account's folders that no server holds any more."""
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDER}*"):
        with suppress(OSError):  # another's, or somebody else was faster
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                found = os.fstat(handle)
                # One that is being made is not held yet.
                if found.st_uid == os.geteuid() and found.st_ctime < now() - NEW_SECONDS:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder)
            finally:
                os.close(handle)


def metrics() -> Response:
    """The counts as Prometheus reads them, for those who have the token."""
    expected = current_app.extensions["portal.settings"].metrics_token
    if not expected:
        abort(404)
    scheme, _, sent = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(sent.encode(), expected.encode()):
        text = "Send Authorization: Bearer with the value of PORTAL_METRICS_TOKEN.\n"
        headers = {"WWW-Authenticate": 'Bearer realm="Portal metrics"'}
        return Response(text, 401, headers, content_type="text/plain; charset=utf-8")
    registry = REGISTRY
    if SHARED in os.environ:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)
    counted = generate_latest(registry) + generate_latest(_State())
    headers = {"Cache-Control": "no-store"}
    return Response(counted, headers=headers, content_type=CONTENT_TYPE_LATEST)


class _State(Collector):
    """What is so at the moment: looked up when asked, the same from every worker."""

    def collect(self) -> Iterable[Metric]:
        build = GaugeMetricFamily(
            "portal_build_info", "The release that runs.", labels=["version", "python"]
        )
        build.add_metric([_release(), platform.python_version()], 1)
        yield build
        ready = current_readiness().status() == OK
        yield GaugeMetricFamily("portal_ready", "1 when /readyz says ok.", float(ready))


def _release() -> str:
    try:
        return version("portal")
    except PackageNotFoundError:
        return "unknown"
