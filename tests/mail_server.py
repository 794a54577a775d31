"""A small real mail server on 127.0.0.1 that keeps what it is given."""

import base64
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass
class Received:
    """One letter: from and to whom on the envelope, and how the sender proved who it is."""

    sender: str
    recipients: list[str]
    message: EmailMessage
    encrypted: bool
    account: tuple[str, str] | None


@dataclass
class MailServer:
    """What arrived, and how the next client is to be treated."""

    port: int = 0
    letters: list[Received] = field(default_factory=list)
    #: The answer to a command instead of the usual one: {"RCPT": "550 no such person"}.
    refuses: dict[str, str] = field(default_factory=dict)
    account: tuple[str, str] | None = None
    certificate: tuple[Path, Path] | None = None
    from_the_start: bool = False

    @property
    def url(self) -> str:
        scheme = "smtps" if self.from_the_start else "smtp"
        return f"{scheme}://localhost:{self.port}"

    @property
    def text(self) -> str:
        """The text of the newest letter."""
        return self.letters[-1].message.get_content()

    def context(self) -> ssl.SSLContext:
        assert self.certificate
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(*self.certificate)
        return made


class Conversation(socketserver.StreamRequestHandler):
    """One client, until it leaves."""

    timeout = 10

    def setup(self) -> None:
        self.book: MailServer = self.server.book  # type: ignore[attr-defined]
        self.encrypted = self.book.from_the_start
        if self.encrypted:
            self.request = self.book.context().wrap_socket(self.request, server_side=True)
        self.account: tuple[str, str] | None = None
        self.sender, self.recipients = "", []  # type: ignore[var-annotated]
        super().setup()

    def say(self, line: str) -> None:
        self.wfile.write(line.encode() + b"\r\n")

    def handle(self) -> None:
        self.say("220 mail.example.org")
        while line := self.rfile.readline().decode().rstrip("\r\n"):
            verb, _, rest = line.partition(" ")
            verb = verb.upper()
            if verb in self.book.refuses:
                self.say(self.book.refuses[verb])
            elif verb == "QUIT":
                self.say("221 bye")
                return
            else:
                getattr(self, f"do_{verb.lower()}", self.do_noop)(rest)

    def finish(self) -> None:
        super().finish()
        if isinstance(self.request, ssl.SSLSocket):
            self.request.close()

    def do_noop(self, rest: str) -> None:
        self.say("250 OK")

    def do_ehlo(self, rest: str) -> None:
        self.say("250-mail.example.org")
        if self.book.certificate and not self.encrypted:
            self.say("250-STARTTLS")
        if self.book.account:
            self.say("250-AUTH PLAIN")
        self.say("250 8BITMIME")

    def do_starttls(self, rest: str) -> None:
        self.say("220 go on")
        self.request = self.book.context().wrap_socket(self.request, server_side=True)
        self.encrypted = True
        self.rfile.close()
        self.wfile.close()
        self.rfile = self.request.makefile("rb")
        self.wfile = socketserver._SocketWriter(self.request)

    def do_auth(self, rest: str) -> None:
        _, name, password = base64.b64decode(rest.split()[1]).decode().split("\0")
        if (name, password) != self.book.account:
            self.say(f"535 {name} may not come in with {password}")
            return
        self.account = (name, password)
        self.say("235 come in")

    def do_mail(self, rest: str) -> None:
        if self.book.account and not self.account:
            self.say("530 sign in first")
            return
        self.sender = rest.split("<")[1].split(">")[0]
        self.say("250 OK")

    def do_rcpt(self, rest: str) -> None:
        self.recipients.append(rest.split("<", 1)[1].rpartition(">")[0])
        self.say("250 OK")

    def do_data(self, rest: str) -> None:
        self.say("354 go on")
        lines = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line.removeprefix(b"."))
        message = message_from_bytes(b"".join(lines), policy=default)
        assert isinstance(message, EmailMessage)
        self.book.letters.append(
            Received(self.sender, self.recipients, message, self.encrypted, self.account)
        )
        self.say("250 taken")


class Quiet(socketserver.ThreadingTCPServer):
    """A client that hangs up is no error here."""

    allow_reuse_address = True
    block_on_close = True

    def handle_error(self, request: object, client_address: object) -> None:
        pass


@contextmanager
def running_mail_server(**how) -> Iterator[MailServer]:
    """A mail server on a free port of this machine."""
    book = MailServer(**how)
    with Quiet(("127.0.0.1", 0), Conversation) as server:
        server.book = book  # type: ignore[attr-defined]
        book.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield book
        finally:
            server.shutdown()
            thread.join()


def make_certificate(folder: Path, host: str = "localhost", days: int = 1) -> tuple[Path, Path]:
    """A certificate for a host of this machine, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    names = [x509.DNSName(host), x509.IPAddress(ip_address("127.0.0.1"))]
    moment = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment - timedelta(days=2))
        .not_valid_after(moment + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / f"{host}.pem", folder / f"{host}.key"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return paths
