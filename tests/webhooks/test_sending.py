"""Messages are sent to addresses that were looked at, and nothing else happens."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import socket
import ssl
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from hanseg_shared.errors import OptionError
from hanseg_shared.webhooks.addresses import Reach
from hanseg_shared.webhooks.documents import Failure
from hanseg_shared.webhooks.sending import Answer, Sender
from tests.webhooks.receiver import listening, receiving

HERE = Reach.of(["127.0.0.0/8"], plain_http=True)
BODY = b'{"type": "ping"}'


def send(url: str, sender: Sender | None = None) -> Answer:
    return (sender or Sender(HERE)).send(url, {"webhook-id": "msg_1"}, BODY)


def leads_to(*addresses: str):
    """Return a resolver by which every name leads to these addresses, in turn."""
    asked: list[str] = []

    def resolve(host: str, port: int):
        asked.append(host)
        family, kind = socket.AF_INET, socket.SOCK_STREAM
        return [(family, kind, 6, "", (each, port)) for each in addresses]

    resolve.asked = asked  # type: ignore[attr-defined]
    return resolve


@pytest.fixture
def receiver():
    with receiving() as found:
        yield found


def test_a_message_arrives_as_it_was_sent(receiver):
    assert send(receiver.url) == Answer(204)
    [(path, headers, body)] = receiver.requests
    assert (path, body) == ("/hanseg?token=hidden", BODY)
    assert headers["webhook-id"] == "msg_1"
    assert headers["host"] == f"127.0.0.1:{receiver.port}"


@pytest.mark.parametrize(
    ("status", "failure"),
    [
        (200, None),
        (299, None),
        (300, Failure.REDIRECTED),
        (400, Failure.STATUS),
        (410, Failure.STATUS),
        (503, Failure.STATUS),
    ],
)
def test_what_a_status_means(receiver, status, failure):
    receiver.statuses = [status]
    answer = send(receiver.url)
    assert answer == Answer(status, failure)
    assert answer.is_gone is (status == 410)


def test_a_redirect_is_not_followed(receiver):
    receiver.statuses = [307]
    receiver.headers = {"Location": receiver.url}
    assert send(receiver.url) == Answer(307, Failure.REDIRECTED)
    assert len(receiver.requests) == 1


def test_no_proxy_of_the_environment_is_asked(receiver, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert send(receiver.url).is_success


def test_an_address_of_the_sites_own_is_refused_unless_it_is_allowed(receiver):
    public = Sender(Reach(plain_http=True))
    assert send(receiver.url, public) == Answer(failure=Failure.BAD_URL)
    named = f"http://receiver.example:{receiver.port}/"
    public = Sender(Reach(plain_http=True), resolve=leads_to("127.0.0.1"))
    assert send(named, public) == Answer(failure=Failure.ADDRESS_REFUSED)
    assert receiver.requests == []


def test_of_a_name_that_leads_to_several_addresses_each_must_be_allowed(receiver):
    named = f"http://receiver.example:{receiver.port}/"
    mixed = Sender(HERE, resolve=leads_to("127.0.0.1", "10.0.0.1"))
    assert send(named, mixed) == Answer(failure=Failure.ADDRESS_REFUSED)


def test_a_name_is_looked_up_once_and_that_address_is_used(receiver):
    resolve = leads_to("127.0.0.1")
    url = f"http://receiver.example:{receiver.port}/x"
    assert send(url, Sender(HERE, resolve=resolve)).is_success
    assert resolve.asked == ["receiver.example"]
    [(_, headers, _)] = receiver.requests
    assert headers["host"] == f"receiver.example:{receiver.port}"


def test_the_next_address_is_tried_where_one_does_not_answer(receiver):
    resolve = leads_to("127.0.0.2", "127.0.0.1")  # the first has no such port
    url = f"http://receiver.example:{receiver.port}/x"
    assert send(url, Sender(HERE, resolve=resolve)).is_success


def test_what_cannot_be_reached_is_said():
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert send(f"http://127.0.0.1:{port}/") == Answer(failure=Failure.UNREACHABLE)

    def fail(*_: object):
        raise socket.gaierror("no such name")

    nameless = Sender(HERE, resolve=fail)
    answer = send("http://receiver.example/", nameless)
    assert answer == Answer(failure=Failure.UNRESOLVED)
    nowhere = Sender(HERE, resolve=leads_to())
    answer = send("http://receiver.example/", nowhere)
    assert answer == Answer(failure=Failure.UNRESOLVED)


def test_a_receiver_that_says_nothing_is_left_in_time():
    def keep_silent(connection: socket.socket) -> None:
        while connection.recv(1000):
            pass

    with listening(keep_silent) as port:
        answer = send(f"http://127.0.0.1:{port}/", Sender(HERE, seconds=0.2))
    assert answer == Answer(failure=Failure.TIMEOUT)


def test_a_receiver_that_goes_on_for_ever_is_left_in_time():
    def drip(connection: socket.socket) -> None:
        connection.settimeout(0.5)  # once nobody reads any more
        with contextlib.suppress(OSError):
            while True:
                connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")

    begun = time.monotonic()
    with listening(drip) as port:
        answer = send(f"http://127.0.0.1:{port}/", Sender(HERE, seconds=0.2))
    assert answer == Answer(failure=Failure.TIMEOUT)
    assert time.monotonic() - begun < 5.0


@pytest.mark.parametrize(
    ("sent", "failure"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", Failure.UNREACHABLE),
        (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 200, Failure.NO_HTTP),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000, Failure.NO_HTTP),
    ],
    ids=["no-http", "many-headers", "a-long-header"],
)
def test_an_answer_that_is_none_is_said_to_be(sent, failure):
    def say(connection: socket.socket) -> None:
        connection.recv(65536)
        with contextlib.suppress(OSError):
            connection.sendall(sent)

    with listening(say) as port:
        answer = send(f"http://127.0.0.1:{port}/")
    assert answer.failure in {failure, Failure.NO_HTTP}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of receiver.example, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a receiver")])
    now = datetime.datetime.now(datetime.UTC)
    names = [
        x509.DNSName("receiver.example"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    ]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "receiver.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
    return file


@pytest.fixture
def secured(certificate: Path):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with receiving(context) as found:
        yield found


def test_over_tls_the_certificate_and_the_name_in_it_are_checked(secured, certificate):
    resolve = leads_to("127.0.0.1")
    trusting = Sender(HERE, authorities=certificate, resolve=resolve)
    for host, answer in (
        ("receiver.example", Answer(204)),
        ("receiver.example.", Answer(204)),
        ("127.0.0.1", Answer(204)),
        ("other.example", Answer(failure=Failure.TLS)),
    ):
        assert send(f"https://{host}:{secured.port}/", trusting) == answer, host
    wary = Sender(HERE, resolve=resolve)
    answer = send(f"https://receiver.example:{secured.port}/", wary)
    assert answer == Answer(failure=Failure.TLS)


def test_what_speaks_no_tls_gets_nothing(receiver):
    answer = send(f"https://127.0.0.1:{receiver.port}/")
    assert answer == Answer(failure=Failure.TLS)
    assert receiver.requests == []


def test_authorities_that_cannot_be_read_are_said_at_the_start(tmp_path):
    with pytest.raises(OptionError, match="HANSEG_WEBHOOK_AUTHORITIES: "):
        Sender(HERE, authorities=tmp_path / "none.pem")
