"""Both brokers over TLS: their certificate is checked, and the name in it."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from hanseg_shared.errors import ServiceUnavailableError
from hanseg_shared.jobs.messages import TASK_REGISTER, BrokerPublisher, QueueName
from hanseg_shared.settings import Settings
from hanseg_shared.stack.redis_server import free_port
from tests.rabbitmq_server import running_rabbitmq

JOB_ID = "0123456789abcdef0123456789abcdef"
PASSWORD = "a-password"


class Served:
    """A broker's URL over TLS, and the certificate that it shows."""

    def __init__(self, url: str, certificate: Path) -> None:
        self.url = url
        self.certificate = certificate


@pytest.fixture(
    params=[
        pytest.param("redis", marks=pytest.mark.redis),
        pytest.param(
            "rabbitmq",
            marks=[pytest.mark.rabbitmq, pytest.mark.xdist_group("rabbitmq")],
        ),
    ]
)
def served(request, tmp_path: Path) -> Iterator[Served]:
    with running_rabbitmq() as rabbit:  # whose certificate is both brokers'
        folder = rabbit.folder
        if request.param == "rabbitmq":
            user, _, rest = rabbit.url.removeprefix("amqp://").partition("@")
            virtual_host = rest.partition("/")[2]
            port = (folder / "tls.port").read_text().strip()
            url = f"amqps://{user}@127.0.0.1:{port}/{virtual_host}"
            yield Served(url, folder / "certificate.pem")
            return
        yield from serve_redis(folder, tmp_path)


def serve_redis(folder: Path, tmp_path: Path) -> Iterator[Served]:
    """Run Debian's Redis with TLS; the one in the wheel has none."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("Debian's redis-server is not installed")
    port = free_port()
    process = subprocess.Popen(
        [program, "-"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, cwd=tmp_path
    )
    assert process.stdin is not None
    with process.stdin as configured:
        configured.write(
            f"""port 0
            tls-port {port}
            bind 127.0.0.1
            tls-cert-file {folder}/certificate.pem
            tls-key-file {folder}/key.pem
            tls-ca-cert-file {folder}/certificate.pem
            tls-auth-clients no
            requirepass {PASSWORD}
            save ""
            """.encode()
        )
    try:
        url = f"rediss://:{PASSWORD}@127.0.0.1:{port}/0"
        yield Served(url, folder / "certificate.pem")
    finally:
        process.terminate()
        process.wait()


def open_publisher(url: str, certificate: Path | None) -> BrokerPublisher:
    return BrokerPublisher(Settings(broker_url=SecretStr(url), broker_ca=certificate))


def test_a_broker_with_the_right_certificate_is_used_and_no_other(served):
    trusting = open_publisher(served.url, served.certificate)
    deadline = time.monotonic() + 20.0
    while True:  # a server that was started just now
        try:
            trusting.publish(TASK_REGISTER, QueueName.REGISTRATION, JOB_ID)
        except ServiceUnavailableError:
            assert time.monotonic() < deadline, "it cannot be used over TLS"
        else:
            break
    assert trusting.waiting(QueueName.REGISTRATION) == 1
    trusting.close()

    named_otherwise = served.url.replace("127.0.0.1", "localhost")
    for url, certificate in [
        (served.url, None),
        (named_otherwise, served.certificate),
    ]:
        wary = open_publisher(url, certificate)
        with pytest.raises(ServiceUnavailableError, match="does not answer"):
            wary.waiting(QueueName.REGISTRATION)
        wary.close()
