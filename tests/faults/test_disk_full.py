"""The disk is full: a clear answer, nothing lost, and it goes on when there is room."""

import resource
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from portal.clock import now
from portal.models import Session
from tests.engines import SQLITE, on_both_engines
from tests.factories import make_application
from tests.faults.portal import Answer, Portal, cookie_of
from tests.flows import RelyingApp

DISK = "32m"
#: More than one page of any table.
MOST = 3000


class SmallDisk:
    """A disk of its own for the database; a ballast file takes all the room that is left."""

    def __init__(self, path: Path) -> None:
        self.path, self._ballast = path, path / "ballast"

    def fill(self) -> None:
        with self._ballast.open("wb", buffering=0) as file:
            for size in (1024 * 1024, 4096):
                try:
                    while True:
                        file.write(b"x" * size)
                except OSError:
                    continue

    def free(self) -> None:
        self._ballast.unlink()


@pytest.fixture
def disk() -> Iterator[SmallDisk]:
    # Not pytest's directory: that one is closed to PostgreSQL's account.
    path = Path(tempfile.mkdtemp(prefix="portal-disk-"))
    path.chmod(0o755)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=777", "tmpfs", str(path)],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        path.rmdir()
        pytest.skip(f"no right to mount a small disk: {done.stderr.strip()}")
    yield SmallDisk(path)
    subprocess.run(["umount", "--lazy", str(path)], check=True)
    path.rmdir()


@pytest.fixture
def database_url(request, prepared, tmp_path) -> Iterator[str]:
    """A database on the small disk, when the test asks for one."""
    if "disk" not in request.fixturenames:
        shutil.copy(prepared.path, tmp_path / "portal.db")
        yield f"sqlite:///{tmp_path}/portal.db"
        return
    disk = request.getfixturevalue("disk")
    if request.param == SQLITE:
        shutil.copy(prepared.path, disk.path / "portal.db")
        yield f"sqlite:///{disk.path}/portal.db"
        return
    cluster = request.getfixturevalue("postgres")
    yield cluster.create_on("small", disk.path)
    cluster.execute("DROP DATABASE small WITH (FORCE)")
    cluster.execute("DROP TABLESPACE small")


def fill_up(real: RelyingApp) -> tuple[list[str], Answer]:
    """Get tokens until there is no room; those that came, and the answer that said so."""
    tokens = []
    for _ in range(MOST):
        answer = real.token("client_credentials")
        if answer.status_code != 200:
            return tokens, answer
        tokens.append(answer.get_json()["access_token"])
    raise AssertionError("the disk is not full")


@on_both_engines
def test_a_full_disk_is_a_503_and_it_goes_on_by_itself(rp, portal, browser_of, alice, bob, disk):
    real, browser = portal.serving(rp), browser_of(bob)
    refresh_token = rp.sign_in(browser)["refresh_token"]
    # It has not been used for long, so its next use would be noted, as a session's would.
    api = RelyingApp(portal, *make_application(alice, name="API", resource_server=True))
    Session.update(last_seen_at=now() - 3600).execute()
    portal.start()
    disk.fill()
    tokens, answer = fill_up(real)
    assert answer.status_code == 503
    assert answer.get_json()["error"] == "temporarily_unavailable"
    assert answer.headers["Retry-After"]
    assert real.refresh(refresh_token).status_code == 503
    wrong = RelyingApp(portal, rp.application, "wrong")
    assert wrong.token("client_credentials").status_code == 503
    page = portal.post_form("/login", {"username": "bob", "password": "wrong"})
    assert page.status_code == 503
    assert "Nothing that was confirmed is lost" in page.get_data(as_text=True)
    # What only reads goes on.
    assert all(api.is_active(token) for token in tokens[-20:])
    assert portal.get("/account/connections", headers=cookie_of(browser)).status_code == 200
    disk.free()
    assert [real.token("client_credentials").status_code for _ in range(20)] == [200] * 20
    assert real.refresh(refresh_token).status_code == 200
    assert all(rp.is_active(token) for token in tokens)
    shown = portal.log.read_text()
    assert not any(secret in shown for secret in [refresh_token, rp.secret, *tokens[-3:]])


def test_a_file_that_cannot_grow_is_a_503_and_it_goes_on_by_itself(rp, portal):
    real = portal.serving(rp)
    portal.start()
    limit(portal, 64 * 1024)
    tokens, answer = fill_up(real)
    assert answer.status_code == 503
    assert answer.get_json()["error"] == "temporarily_unavailable"
    limit(portal, resource.RLIM_INFINITY)
    assert [real.token("client_credentials").status_code for _ in range(20)] == [200] * 20
    assert all(rp.is_active(token) for token in tokens)


def limit(portal: Portal, file_bytes: int) -> None:
    """How long a file of the running server may become."""
    for pid in portal.workers():
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (file_bytes, resource.RLIM_INFINITY))
