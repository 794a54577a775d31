"""Mail: what a mail server receives, what it is never told, and what people read when it fails."""

import logging
import socket
import ssl
from dataclasses import replace

import pytest

from portal import mail
from portal.mail import Letter, MailError, send
from portal.settings import SettingError, Settings
from tests.mail_server import make_certificate, running_mail_server

KEY = "k" * 40
LETTER = Letter("Grüße", "Hello bob,\n\n.a line with a dot\nZoë\n")
PASSWORD = "p@ss:w/rd"
ACCOUNT = ("portal", PASSWORD)
TO = "bob@example.org"


@pytest.fixture
def mailing(settings):
    """The settings of a portal that mails through this server."""

    def make(server, url: str = "", sender: str = "Portal <login@example.org>") -> Settings:
        return replace(settings, smtp_url=url or server.url, mail_from=sender)

    return make


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def trusted(certificate, monkeypatch):
    """This machine trusts the mail server's certificate."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))


def with_account(server) -> str:
    return server.url.replace("://", "://portal:p%40ss%3Aw%2Frd@")


class TestWhatArrives:
    def test_a_letter(self, mailing):
        with running_mail_server() as server:
            send(mailing(server), TO, LETTER)
        (got,) = server.letters
        assert (got.sender, got.recipients) == ("login@example.org", [TO])
        message = got.message
        assert message["From"] == "Portal <login@example.org>"
        assert message["To"] == TO
        assert message["Subject"] == "Grüße"
        assert message["Auto-Submitted"] == "auto-generated"
        assert message["Message-ID"].endswith("@example.org>")
        assert message["Date"].datetime
        assert message.get_content_type() == "text/plain"
        assert message.get_content().replace("\r\n", "\n") == LETTER.text

    @pytest.mark.parametrize(
        ("address", "on_the_envelope"),
        [
            ("a,b@example.org", '"a,b"@example.org'),
            ("eve>,<bob@example.org", '"eve>,<bob"@example.org'),
            ("o'hara+x@example.org", "o'hara+x@example.org"),
            ("bob@bücher.example", "bob@xn--bcher-kva.example"),
        ],
    )
    def test_an_odd_address_is_one_address(self, mailing, address, on_the_envelope):
        with running_mail_server() as server:
            send(mailing(server), address, LETTER)
        (got,) = server.letters
        assert got.recipients == [on_the_envelope]
        assert len(got.message["To"].addresses) == 1

    @pytest.mark.parametrize(
        "address", ["bob@example.org\nBcc: eve@example.org", "zoë@example.org", "bob@", "@", ""]
    )
    def test_an_impossible_address_gets_nothing(self, mailing, address):
        with running_mail_server() as server, pytest.raises(MailError):
            send(mailing(server), address, LETTER)
        assert not server.letters


class TestEncryption:
    def test_starttls_comes_before_the_password(self, mailing, certificate, trusted):
        with running_mail_server(certificate=certificate, account=ACCOUNT) as server:
            send(mailing(server, with_account(server)), TO, LETTER)
        (got,) = server.letters
        assert got.encrypted
        assert got.account == ACCOUNT

    def test_smtps_is_encrypted_from_the_start(self, mailing, certificate, trusted):
        how = {"certificate": certificate, "account": ACCOUNT, "from_the_start": True}
        with running_mail_server(**how) as server:
            send(mailing(server, with_account(server)), TO, LETTER)
        assert server.letters[0].encrypted

    def test_a_certificate_that_nobody_vouches_for(self, mailing, certificate, caplog):
        with (
            running_mail_server(certificate=certificate, account=ACCOUNT) as server,
            pytest.raises(MailError),
        ):
            send(mailing(server, with_account(server)), TO, LETTER)
        assert not server.letters
        assert "certificate" in caplog.text.lower()

    def test_a_certificate_of_another_host(self, mailing, tmp_path, monkeypatch):
        other = make_certificate(tmp_path, "mail.example.org")
        monkeypatch.setenv("SSL_CERT_FILE", str(other[0]))
        with running_mail_server(certificate=other) as server, pytest.raises(MailError):
            send(mailing(server), TO, LETTER)
        assert not server.letters

    def test_only_a_server_on_this_machine_may_do_without(self, mailing, monkeypatch, caplog):
        monkeypatch.setattr(mail, "LOOPBACK", frozenset())
        with running_mail_server(account=ACCOUNT) as server, pytest.raises(MailError):
            send(mailing(server, with_account(server)), TO, LETTER)
        assert not server.letters
        assert "SMTPNotSupportedError" in caplog.text


class TestFailures:
    @pytest.mark.parametrize(
        ("refuses", "logged"),
        [
            ({"EHLO": "421 too busy", "HELO": "421 too busy"}, "421"),
            ({"AUTH": f"535 no {PASSWORD}"}, "535"),
            ({"MAIL": "451 later"}, "451"),
            ({"RCPT": f"550 no {TO}"}, "refused the recipient (550)"),
            ({"DATA": "554 spam"}, "554"),
        ],
    )
    def test_a_refusal_is_said_and_logged_without_secrets(self, mailing, refuses, logged, caplog):
        caplog.set_level(logging.DEBUG)
        with running_mail_server(account=ACCOUNT, refuses=refuses) as server:
            with pytest.raises(MailError, match=r"could not be sent\. Try again later"):
                send(mailing(server, with_account(server)), TO, LETTER)
            assert f"localhost:{server.port}" in caplog.text
        assert not server.letters
        assert logged in caplog.text
        for secret in (PASSWORD, "p%40ss", TO, "a line with a dot"):
            assert secret not in caplog.text

    def test_a_wrong_password(self, mailing, caplog):
        with running_mail_server(account=("portal", "another")) as server, pytest.raises(MailError):
            send(mailing(server, with_account(server)), TO, LETTER)
        assert "SMTPAuthenticationError 535" in caplog.text
        assert PASSWORD not in caplog.text

    def test_nobody_there(self, mailing, caplog):
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
        with pytest.raises(MailError):
            send(mailing(None, f"smtp://localhost:{port}"), TO, LETTER)
        assert "did not take a letter" in caplog.text

    def test_a_server_that_says_nothing_is_not_waited_for(self, mailing, monkeypatch):
        monkeypatch.setattr(mail, "SECONDS", 0.2)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            settings = mailing(None, f"smtp://127.0.0.1:{silent.getsockname()[1]}")
            with pytest.raises(MailError):
                send(settings, TO, LETTER)

    def test_the_default_checks_certificates(self):
        context = ssl.create_default_context()
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname


class TestSettings:
    def read(self, tmp_path, **environ) -> Settings:
        return Settings.from_env({"PORTAL_SECRET_KEY": KEY, **environ}, instance=tmp_path)

    def test_mail_is_off_by_default(self, tmp_path):
        assert not self.read(tmp_path).sends_mail
        assert not self.read(tmp_path, PORTAL_MAIL_FROM="login@example.org").sends_mail

    @pytest.mark.parametrize(
        "url",
        [
            "smtp://localhost",
            "smtp://mail.example.org:2525/",
            "smtps://portal%40example.org:p%40ss@mail.example.org:465",
            "smtp://a:b@[::1]:25",
        ],
    )
    def test_it_is_on_with_a_server_and_a_sender(self, tmp_path, url):
        got = self.read(tmp_path, PORTAL_SMTP_URL=url, PORTAL_MAIL_FROM="Portal <p@example.org>")
        assert got.sends_mail

    def test_the_address_may_be_in_a_file(self, tmp_path):
        path = tmp_path / "smtp"
        path.write_text("smtp://a:b@mail.example.org\n")
        sender = "login@example.org"
        got = self.read(tmp_path, PORTAL_SMTP_URL_FILE=str(path), PORTAL_MAIL_FROM=sender)
        assert got.smtp_url == "smtp://a:b@mail.example.org"

    @pytest.mark.parametrize(
        "url",
        [
            "mail.example.org",
            "http://mail.example.org",
            "smtp://",
            "smtp://name:sesame@",
            "smtp://name@mail.example.org",
            "smtp://name:sesame@mail.example.org:port",
            "smtp://name:sesame@mail.example.org:0",
            "smtp://name:sesame@mail.example.org/path",
            "smtp://name:ses/ame@mail.example.org",
            "smtp://name:sesame#@mail.example.org",
            "smtp://name:sesame@[mail",
        ],
    )
    def test_an_address_that_does_not_do_stops_the_start_unseen(self, tmp_path, url):
        with pytest.raises(SettingError) as caught:
            self.read(tmp_path, PORTAL_SMTP_URL=url, PORTAL_MAIL_FROM="login@example.org")
        assert "PORTAL_SMTP_URL must look like" in str(caught.value)
        assert "sesame" not in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_a_server_needs_a_sender(self, tmp_path):
        with pytest.raises(SettingError, match="needs PORTAL_MAIL_FROM"):
            self.read(tmp_path, PORTAL_SMTP_URL="smtp://localhost")

    @pytest.mark.parametrize(
        "sender",
        [
            "login",
            "login@",
            "a@b@c",
            "Portal <login>",
            "a@example.org\r\nBcc: b@c",
            "ü@example.org",
        ],
    )
    def test_a_sender_that_is_none(self, tmp_path, sender):
        with pytest.raises(SettingError, match="PORTAL_MAIL_FROM must be"):
            self.read(tmp_path, PORTAL_MAIL_FROM=sender)
