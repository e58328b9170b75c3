"""Fetching over real sockets: what an issuer, or somebody in its place, may answer (K67, K68)."""

import asyncio
import datetime as dt
import ipaddress
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.identity.key_fetch import MAX_DOCUMENT, FetchFailed, discovery_urls, fetch, http_client

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def server(answer: Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """A server on loopback that reads one request head and then does as `answer` says."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await answer(writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    listening = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=tls)
    async with listening:
        port = listening.sockets[0].getsockname()[1]
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}/keys"


def plain(head: str, body: bytes = b"") -> Answer:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)
        await writer.drain()

    return answer


async def failure(url: str, seconds: float = 5.0) -> str:
    async with http_client() as client:
        with pytest.raises(FetchFailed) as caught:
            await fetch(client, url, seconds=seconds)
    return str(caught.value)


async def test_a_document_is_read_whole() -> None:
    body = b"x" * MAX_DOCUMENT
    async with server(plain(f"HTTP/1.1 200 OK\ncontent-length: {len(body)}", body)) as url, http_client() as client:
        assert await fetch(client, url, seconds=5) == body


@pytest.mark.parametrize("status", ["201 Created", "204 No Content", "302 Found\nlocation: /x", "404 x", "500 x"])
async def test_only_200_counts_and_redirects_are_not_followed(status: str) -> None:
    async with server(plain(f"HTTP/1.1 {status}\ncontent-length: 0")) as url:
        assert await failure(url) == f"answered with status {status[:3]}"


async def test_too_large_a_document_is_not_read_to_its_end() -> None:
    sent = 0

    async def endless(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n")
        for _ in range(1_000):
            writer.write(b" " * 100_000)
            await writer.drain()
            sent += 100_000

    async with server(endless) as url:
        assert await failure(url) == "answered with too large a document"
    assert sent < 50_000_000


async def test_a_slow_drip_ends_with_the_time() -> None:
    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
        for _ in range(200):
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with server(drip) as url:
        assert await failure(url, seconds=0.2) == "did not answer in time"


async def test_a_content_coding_is_not_undone() -> None:
    async with server(plain("HTTP/1.1 200 OK\ncontent-encoding: gzip\ncontent-length: 4", b"\x1f\x8b\x08\0")) as url:
        assert await failure(url) == "answered with a content coding"


@pytest.mark.parametrize("head", ["nonsense", "HTTP/1.1 200 OK\ncontent-length: 10", "HTTP/1.1 200 OK\nbad header"])
async def test_broken_answers(head: str) -> None:
    async with server(plain(head)) as url:
        assert (await failure(url)).startswith("could not be reached")


async def test_nobody_listens_or_no_such_name() -> None:
    async with server(plain("HTTP/1.1 200 OK")) as url:
        pass
    assert (await failure(url)).startswith("could not be reached")
    for host in ("a" * 64 + ".invalid", "no-such-name.invalid"):
        assert (await failure(f"https://{host}/keys")).startswith(("could not be reached", "did not answer"))


async def test_cookies_are_not_kept() -> None:
    async with (
        server(plain("HTTP/1.1 200 OK\nset-cookie: session=1\ncontent-length: 0")) as url,
        http_client() as client,
    ):
        await fetch(client, url, seconds=5)
        assert not client.cookies


def self_signed(pem: Path, *names: x509.GeneralName) -> ssl.SSLContext:
    """A server's TLS context with a certificate of its own making, which is written to `pem`."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "issuer")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), 1, now, now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem)
    return context


async def test_tls_is_checked(tmp_path: Path) -> None:
    """K68: a certificate that nobody vouches for, or that speaks of another name."""
    ours, other = tmp_path / "ours.pem", tmp_path / "other.pem"
    tls = self_signed(ours, x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
    self_signed(other, x509.DNSName("other.example"))
    async with server(plain("HTTP/1.1 200 OK\ncontent-length: 2", b"{}"), tls) as url:
        async with http_client(ca_file=ours) as client:
            assert await fetch(client, url, seconds=5) == b"{}"
            with pytest.raises(FetchFailed, match="could not be reached"):
                await fetch(client, url.replace("127.0.0.1", "localhost"), seconds=5)
        for trusted in (None, other):
            async with http_client(ca_file=trusted) as client:
                with pytest.raises(FetchFailed, match="could not be reached"):
                    await fetch(client, url, seconds=5)


@pytest.mark.parametrize(
    ("issuer", "urls"),
    [
        (
            "https://id.example",
            (
                "https://id.example/.well-known/openid-configuration",
                "https://id.example/.well-known/oauth-authorization-server",
            ),
        ),
        (
            "https://id.example/",
            (
                "https://id.example/.well-known/openid-configuration",
                "https://id.example/.well-known/oauth-authorization-server",
            ),
        ),
        (
            "http://localhost:8180/realms/push",
            (
                "http://localhost:8180/realms/push/.well-known/openid-configuration",
                "http://localhost:8180/.well-known/oauth-authorization-server/realms/push",
            ),
        ),
    ],
)
def test_where_discovery_documents_are(issuer: str, urls: tuple[str, str]) -> None:
    assert discovery_urls(issuer) == urls
