"""What a worker noted is in the database soon, though nobody asks it for anything else."""

from portal.models import Application
from tests.factories import make_application
from tests.faults.portal import wait_until
from tests.flows import RelyingApp


def test_uses_of_one_second_are_all_there_soon(app, alice, portal):
    portal.environ["PORTAL_SWEEP_SECONDS"] = "0"
    applications = [make_application(alice, grants=["client_credentials"]) for _ in range(8)]
    portal.start()
    for application, secret in applications:
        rp = RelyingApp(portal, application, secret)
        assert rp.token("client_credentials").status_code == 200

    def unused() -> int:
        return Application.select().where(Application.last_used_at == 0).count()

    wait_until(lambda: unused() == 0, seconds=5)
