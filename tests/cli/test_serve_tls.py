"""TLS on the clients' port, with and without certificates of clients."""

import contextlib
import datetime as dt
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.cli.serve_process import bind, clients_server
from gateway.config import Address, Tls
from tests.cli.small_application import SmallApplication


@pytest.fixture
def certificate(tmp_path: Path) -> Tls:
    """A certificate for localhost that signed itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    (tmp_path / "certificate").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    (tmp_path / "key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return Tls.model_construct(
        certificate_file=tmp_path / "certificate", key_file=tmp_path / "key", client_ca_file=None
    )


@contextlib.contextmanager
def serving(tls: Tls) -> Iterator[int]:
    server = clients_server(SmallApplication(0.0), tls, grace=1.0)
    bound = bind(Address(host="127.0.0.1", port=0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.005)
    yield bound.getsockname()[1]
    server.should_exit = True
    thread.join(5)


def context(tls: Tls) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(tls.certificate_file))


def test_requests_over_tls(certificate: Tls) -> None:
    with serving(certificate) as port:
        answer = httpx.get(f"https://localhost:{port}/", verify=context(certificate), trust_env=False)
    assert answer.status_code == 200


def test_broken_streams_over_tls_are_answered_and_closed(certificate: Tls) -> None:
    with (
        serving(certificate) as port,
        socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
        context(certificate).wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        connection.sendall(b"GET / HTTP/1.1\r\nHost : a\r\n\r\n")
        received = b""
        while piece := connection.recv(65_536):
            received += piece
    assert received.startswith(b"HTTP/1.1 400 ")
    assert b"OperationOutcome" in received


def test_plain_http_is_not_spoken_on_a_tls_port(certificate: Tls) -> None:
    with serving(certificate) as port, pytest.raises(httpx.TransportError):
        httpx.get(f"http://localhost:{port}/", trust_env=False)


def test_clients_without_a_certificate_stay_outside(certificate: Tls) -> None:
    tls = certificate.model_copy(update={"client_ca_file": certificate.certificate_file})
    with serving(tls) as port:
        with pytest.raises(httpx.TransportError):
            httpx.get(f"https://localhost:{port}/", verify=context(tls), trust_env=False)
        known = context(tls)
        known.load_cert_chain(str(tls.certificate_file), str(tls.key_file))
        assert httpx.get(f"https://localhost:{port}/", verify=known, trust_env=False).status_code == 200
