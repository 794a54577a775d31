"""Many write to the audit log in the same moment: nothing is lost, and the chain is whole."""

import json
import subprocess
import sys

from portal import audit
from portal.database import database
from portal.models import Application, AuditEvent
from tests.cli.conftest import flask  # noqa: F401
from tests.conftest import SECRET_KEY
from tests.engines import on_both_engines
from tests.factories import make_application
from tests.races.crowd import together

pytestmark = on_both_engines
WRITERS, EACH = 32, 3
CHILD = """
import sys
from pathlib import Path
from portal import audit, create_app
from portal.settings import Settings
from tests.races.crowd import together
url, folder, key = sys.argv[1:]
app = create_app(Settings(issuer="http://localhost:8000", database_url=url, secret_key=key,
                          instance=Path(folder)))
def write(number):
    with app.app_context():
        for turn in range(3):
            audit.record("portal.demo", subject=f"child {number} {turn}")
together(32, write)
"""


def test_64_writers_of_two_processes_lose_nothing(app, settings, tmp_path):
    arguments = [settings.database_url, str(tmp_path), SECRET_KEY]
    child = subprocess.Popen([sys.executable, "-c", CHILD, *arguments], stderr=subprocess.PIPE)

    def write(number: int) -> None:
        with app.app_context():
            for turn in range(EACH):
                audit.record("portal.demo", subject=f"parent {number} {turn}")

    together(WRITERS, write)
    _, errors = child.communicate(timeout=60)
    assert child.returncode == 0, errors.decode()
    told = {row.subject for row in AuditEvent.select()}
    assert told == {
        f"{who} {number} {turn}"
        for who in ("parent", "child")
        for number in range(WRITERS)
        for turn in range(EACH)
    }
    with app.app_context():
        assert AuditEvent.check(audit.seal_key()).broken == []


def test_an_import_and_an_edit_of_the_same_applications_are_both_told(app, alice, flask):  # noqa: F811
    """Many applications in one file, each edited meanwhile: nobody waits for the other for ever."""
    made = [make_application(alice, name=f"App {n}")[0] for n in range(12)]
    entries = [{"client_id": it.client_id, "name": f"{it.name} imported"} for it in made]
    text = json.dumps({"applications": entries})

    def act(number: int) -> int:
        if number == 0:
            return flask("application", "import", "-", stdin=text).code
        for it in reversed(made):
            with app.app_context(), audit.changing("application.changed", it):
                Application.get_by_id(it.id).change(scopes=["openid"])
        return 0

    assert together(2, act) == [0, 0]
    database.connect(reuse_if_open=True)
    rows = [json.loads(row.after) for row in AuditEvent.select()]
    assert [sum(name in row for row in rows) for name in ("name", "scopes")] == [12, 12]
    for it in Application.select():
        assert (it.name.endswith("imported"), it.scopes) == (True, ["openid"])
    with app.app_context():
        assert AuditEvent.check(audit.seal_key()).broken == []
