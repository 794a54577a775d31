"""Two processes with several threads each on one database: all wait, none fails."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from portal.models import AccessToken, Refusal, TokenFamily
from tests.engines import on_both_engines
from tests.factories import make_application
from tests.flows import RelyingApp
from tests.races.writer import ROUNDS

ROOT = Path(__file__).parent.parent.parent
PROCESSES, THREADS = 2, 4

pytestmark = on_both_engines


@pytest.fixture
def rp(app, alice) -> RelyingApp:
    grants = ["authorization_code", "client_credentials", "refresh_token"]
    application, secret = make_application(alice, grants=grants)
    return RelyingApp(app.test_client(), application, secret)


def test_two_processes_share_one_database(rp, browser_of, bob, database_url, tmp_path):
    browser = browser_of(bob)
    tokens = [rp.sign_in(browser)["refresh_token"] for _ in range(PROCESSES * THREADS)]
    before = AccessToken.select().count()
    processes = []
    for turn in range(PROCESSES):
        given = {"client_id": rp.client_id, "secret": rp.secret}
        path = tmp_path / f"work{turn}.json"
        path.write_text(json.dumps({**given, "refresh_tokens": tokens[turn::PROCESSES]}))
        processes.append(
            subprocess.Popen(
                [sys.executable, "-m", "tests.races.writer", database_url, str(path)],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    done = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], done[0][1] + done[1][1]
    assert "locked" not in done[0][1] + done[1][1]
    seen = Counter(tuple(item) for out, _ in done for item in json.loads(out))
    each = PROCESSES * THREADS * ROUNDS
    assert seen == {(200, "token"): each, (200, "refresh"): each, (401, "refused"): each}
    # Every answer of success is a row, and no row is without an answer.
    assert AccessToken.select().count() == before + 2 * each
    assert Refusal.get(Refusal.reason == "secret_wrong").count == each
    assert {family.rotations for family in TokenFamily.select()} == {ROUNDS}
