"""Signing keys: announced before use, kept while needed, replaced by themselves, unreadable."""

import base64
import json
import logging
import time
from collections import Counter

import pytest
import time_machine
from joserfc.jwk import ECKey, RSAKey

from portal import create_app
from portal.credentials import derive_key
from portal.database import database
from portal.models import SigningKey
from portal.models.signing_key import AGE_SECONDS, ANNOUNCE_SECONDS, DAY, EC, RSA
from portal.oauth.keyring import RELOAD_SECONDS, KeyRing
from portal.oauth.keys import CACHE_SECONDS
from portal.settings import Settings
from tests.conftest import SECRET_KEY

KEY = derive_key(SECRET_KEY, "signing keys")


@pytest.fixture
def clock():
    with time_machine.travel(time.time(), tick=False) as clock:
        yield clock


@pytest.fixture
def ring(app) -> KeyRing:
    """The keys as the server's process sees them."""
    return app.extensions["portal.oauth"].keys


def signer(ring: KeyRing, algorithm: str = "ES256") -> str:
    header = ring.sign({"x": 1}, algorithm).split(".")[0]
    return json.loads(base64.urlsafe_b64decode(header + "=="))["kid"]


def published(ring: KeyRing) -> set[str]:
    return {key["kid"] for key in ring.jwks()["keys"]}


# A key's life


def test_a_new_key_is_published_before_it_signs(ring, clock):
    old = signer(ring)
    new = SigningKey.rotate(EC, KEY)
    assert ANNOUNCE_SECONDS > RELOAD_SECONDS + CACHE_SECONDS
    clock.shift(RELOAD_SECONDS)
    assert new.kid in published(ring)
    assert signer(ring) == old
    clock.shift(ANNOUNCE_SECONDS - RELOAD_SECONDS - 1)
    assert signer(ring) == old
    clock.shift(1)
    assert signer(ring) == new.kid


def test_an_old_key_is_published_until_what_it_signed_has_expired(ring, clock):
    old = signer(ring)
    SigningKey.rotate(EC, KEY, keep_seconds=ring.keep_seconds)
    clock.shift(ANNOUNCE_SECONDS - 1)
    last = ring.sign({"exp": int(time.time()) + 900}, "ES256")
    clock.shift(901)
    assert old in published(ring)
    assert ring.claims(last), "a hint is believed although it has expired"
    clock.shift(ring.keep_seconds)
    assert old not in published(ring)
    assert ring.claims(last) is None


@pytest.mark.parametrize("lives", [900, 3600, 90 * DAY])
def test_keys_are_kept_longer_than_the_longest_token_lives(app, lives):
    assert KeyRing(KEY, lives, audit_key=KEY).keep_seconds > lives


def test_other_processes_see_a_new_key_without_a_restart(ring, clock):
    other = KeyRing(KEY, audit_key=KEY)
    signer(ring)
    signer(other)
    new = SigningKey.rotate(RSA, KEY, announce_seconds=0)
    clock.shift(RELOAD_SECONDS)
    assert signer(ring, "RS256") == signer(other, "PS256") == new.kid
    assert published(ring) == published(other)


def test_old_keys_are_replaced_by_themselves_once(ring, clock):
    first = {signer(ring), signer(ring, "RS256")}
    clock.shift(AGE_SECONDS)
    assert {signer(ring), signer(ring, "RS256")} == first
    assert len(published(ring)) == 4
    other = KeyRing(KEY, audit_key=KEY)
    assert published(other) == published(ring), "another process makes no more of them"
    clock.shift(ANNOUNCE_SECONDS)
    assert not {signer(ring), signer(ring, "RS256")} & first
    assert first < published(ring)
    clock.shift(ring.keep_seconds)
    assert not first & published(ring)
    assert len(published(ring)) == 2


def test_a_race_for_the_successor_makes_one(app):
    """Both found the same old key; the second finds it replaced."""
    old = SigningKey.newest(EC)
    SigningKey.rotate(EC, KEY)
    assert not SigningKey._lock(old)


def test_an_emergency_overtakes_an_announced_key(ring, clock):
    SigningKey.rotate(EC, KEY)
    urgent = SigningKey.rotate(EC, KEY, announce_seconds=0)
    clock.shift(RELOAD_SECONDS)
    assert signer(ring) == urgent.kid
    clock.shift(ANNOUNCE_SECONDS)
    assert signer(ring) == urgent.kid, "the announced key may have leaked as well"


def test_the_only_signing_key_is_not_retired(app):
    only = SigningKey.newest(RSA)
    assert not only.retire()
    SigningKey.rotate(RSA, KEY)
    assert not only.retire(), "the announced one does not sign yet"
    SigningKey.rotate(RSA, KEY, announce_seconds=0)
    assert only.retire()
    assert only.kid not in {row.kid for row in SigningKey.published()}


def test_a_retired_key_proves_nothing(ring, clock):
    token = ring.sign({"x": 1}, "ES256")
    old = SigningKey.newest(EC)
    SigningKey.rotate(EC, KEY, announce_seconds=0)
    old.retire()
    clock.shift(RELOAD_SECONDS)
    assert ring.claims(token) is None


def test_a_key_that_somebody_deleted_is_made_anew(app):
    SigningKey.delete().execute()
    ring = KeyRing(KEY, audit_key=KEY)
    assert ring.claims(ring.sign({"x": 1}, "PS256")) == {"x": 1}
    assert len(published(ring)) == 2


# What is stored


def test_private_parts_are_unreadable_in_the_database(app, settings):
    if not settings.database_url.startswith("sqlite"):
        pytest.skip("looks into the database's file")
    secrets = []
    for row in SigningKey.select():
        key = row.unlocked(KEY).as_dict(private=True)
        secrets += [key[name] for name in ("d", "p", "q") if name in key]
        assert "d" not in json.loads(row.public_jwk)
    database.close()
    stored = b"".join(file.read_bytes() for file in settings.instance.glob("portal.db*"))
    assert len(secrets) == 4
    for secret in secrets:
        assert secret.encode() not in stored
        assert base64.urlsafe_b64decode(secret + "==") not in stored


def test_no_key_is_imported_twice_in_a_process(app, rp, bob_signs_in, monkeypatch):
    calls: Counter = Counter()
    for kind in (ECKey, RSAKey):
        original = kind.import_key.__func__

        def counted(cls, value, *args, original=original, **more):
            calls[(value.get("kid"), "d" in value)] += 1
            return original(cls, value, *args, **more)

        monkeypatch.setattr(kind, "import_key", classmethod(counted))
    for algorithm in ("RS256", "PS256", "ES256"):
        rp.application.change(id_token_alg=algorithm)
        for _ in range(3):
            hint = bob_signs_in(rp)["id_token"]
            rp.authorize(bob_signs_in.browser, id_token_hint=hint, prompt="none")
    assert len(calls) == 4, "one private and one public part of each kind"
    assert set(calls.values()) == {1}, calls


# The wrong PORTAL_SECRET_KEY


@pytest.fixture
def wrong(app, settings):
    """The same database with another secret key."""
    made = create_app(
        Settings(
            issuer=settings.issuer,
            database_url=settings.database_url,
            secret_key="w" * 40,
            instance=settings.instance,
        )
    )
    made.testing = True
    made.config["PROPAGATE_EXCEPTIONS"] = False
    return made


def test_a_wrong_secret_key_is_one_clear_answer(wrong, rp, bob_signs_in, caplog):
    tokens = bob_signs_in(rp)
    rp.http = wrong.test_client()
    with caplog.at_level(logging.ERROR):
        response = rp.refresh(tokens["refresh_token"])
    assert response.status_code == 503
    assert response.get_json()["error"] == "temporarily_unavailable"
    assert "signing keys" in response.get_json()["error_description"]
    assert [record.getMessage().count("\n") for record in caplog.records] == [0]
    assert "PORTAL_SECRET_KEY" in caplog.text
    assert "Traceback" not in caplog.text


def test_the_message_names_commands_that_exist(wrong, app):
    result = wrong.test_cli_runner().invoke(args=["db", "upgrade"])
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "PORTAL_SECRET_KEY" in result.stderr
    command = result.stderr.partition("flask --app wsgi ")[2].rstrip(".\n").split()
    assert command == ["keys", "rotate", "all", "--now"]
    assert wrong.test_cli_runner().invoke(args=command).exit_code == 0
    assert wrong.test_cli_runner().invoke(args=["db", "upgrade"]).exit_code == 0


def test_new_keys_mend_a_lost_secret_key_and_the_old_ones_still_prove(
    wrong, ring, rp, bob_signs_in
):
    before = bob_signs_in(rp)["id_token"]
    wrong.test_cli_runner().invoke(args=["keys", "rotate", "all", "--now"])
    fresh = wrong.extensions["portal.oauth"].keys
    assert fresh.claims(before)
    assert fresh.claims(fresh.sign({"x": 1}, "RS256"))


def test_the_first_keys_are_made_with_the_schema(app, tmp_path):
    settings = Settings(
        issuer="http://localhost:8000",
        database_url=f"sqlite:///{tmp_path}/fresh/portal.db",
        secret_key=SECRET_KEY,
        instance=tmp_path,
    )
    made = create_app(settings)
    assert made.test_cli_runner().invoke(args=["db", "upgrade"]).exit_code == 0
    assert {row.kind for row in SigningKey.select()} == {EC, RSA}
    database.close()
