"""The FHIR server over HTTP, on pyreqwest: one request out, one answer back, and nothing of its own accord.

Redirects, proxies from the environment, cookies, decompression and retries are off. The classification of errors
decides what is believed about a write, so it is narrow: only what is known to have happened before a connection
stood is `NotSent`.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from types import TracebackType
from typing import Self

from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import BuilderError, ConnectError, ConnectTimeoutError, PoolTimeoutError, PyreqwestError
from pyreqwest.http import HeaderMap, Url
from pyreqwest.request import RequestBuilder, StreamRequest
from pyreqwest.response import Response

from gateway.saga.ports import (
    AnswerLost,
    AnswerTooLarge,
    Headers,
    NotSent,
    TooLate,
    Unreachable,
    UpstreamAnswer,
    UpstreamRequest,
)
from gateway.upstream.credentials import Authorization, authorization
from gateway.upstream.settings import UpstreamSettings

_Build = Callable[[UpstreamRequest, float | None], Awaitable[RequestBuilder]]
_CONNECT_SECONDS = 10.0
_IDLE_SECONDS = 20.0  # below the 60 s that Tomcat and others keep a connection: fewer writes on one that is closing
# pyreqwest calls every failed exchange a ConnectError; only this cause says that no connection ever stood.
_NEVER_CONNECTED = "client error (Connect)"


class UpstreamClient:
    """`saga.ports.Upstream` over a pool of at most `max_connections`."""

    def __init__(self, settings: UpstreamSettings, *, credentials: Authorization | None = None) -> None:
        self._settings = settings
        self._base = settings.url.rstrip("/") + "/"
        self._authorization = credentials or authorization(settings.credentials)
        self._client: Client | None = None

    async def start(self) -> None:
        """Make the pool; connections are opened when they are needed."""
        seconds = self._settings.timeout
        self._client = (
            ClientBuilder()
            .no_proxy()
            .follow_redirects(enable=False)
            .default_cookie_store(enable=False)
            .gzip(enable=False)
            .brotli(enable=False)
            .zstd(enable=False)
            .deflate(enable=False)
            .referer(enable=False)
            .http1_only()
            .user_agent("fhir-policy-gateway")
            .max_connections(self._settings.max_connections)
            .pool_timeout(timedelta(seconds=seconds))
            .pool_idle_timeout(timedelta(seconds=_IDLE_SECONDS))
            # Well before the whole time is up, which would not tell that no connection stood.
            .connect_timeout(timedelta(seconds=min(_CONNECT_SECONDS, seconds / 2)))
            .timeout(timedelta(seconds=seconds))
            .build()
        )

    async def close(self) -> None:
        """Close the pool; what is still under way ends as AnswerLost."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()
        await self._authorization.close()

    async def send(self, request: UpstreamRequest, *, seconds: float | None = None) -> UpstreamAnswer:
        """One exchange, read whole up to `max_answer_bytes` within `seconds`. Raises NotSent or AnswerLost."""
        building = await self._build(request, seconds)
        most = self._settings.max_answer_bytes
        if request.may_leave is not None and not request.may_leave():
            raise TooLate("it may no longer leave")
        try:
            async with building.build_streamed() as response:
                body = await response.body_reader.read(most + 1)  # up to so many bytes, or all there are
                if body is not None and len(body) > most:
                    raise AnswerTooLarge("the answer is larger than the limit")
                return UpstreamAnswer(
                    status=response.status, headers=_headers(response.headers), body=bytes(body or b"")
                )
        except PyreqwestError as error:
            raise _classified(error) from None

    def stream(self, request: UpstreamRequest) -> "UpstreamStream":
        """One exchange whose body is streamed; entering raises NotSent or AnswerLost."""
        return UpstreamStream(self._build, request)

    async def _build(self, request: UpstreamRequest, seconds: float | None) -> RequestBuilder:
        if self._client is None:
            raise NotSent("the client is not started")
        text = self._base + request.path + (f"?{request.query}" if request.query else "")
        url = _exact(text)
        building = self._client.request(request.method, url)
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers]
        headers.append(("accept-encoding", "identity"))
        own = await self._authorization.value()
        try:
            if own is not None:
                building = building.header("authorization", own, is_sensitive=True)
            building = building.headers(headers)
        except (ValueError, TypeError):
            raise NotSent("a header cannot be sent") from None
        if request.body:
            building = building.body_bytes(request.body)
        return building if seconds is None else building.timeout(timedelta(seconds=seconds))


class UpstreamStream:
    """`StreamedAnswer` over pyreqwest. `chunks` raises AnswerLost when the body ends early."""

    def __init__(self, build: _Build, request: UpstreamRequest) -> None:
        self._build, self._request = build, request
        self._exchange: StreamRequest | None = None
        self._response: Response | None = None
        self.status = 0
        self.headers: Headers = ()

    async def __aenter__(self) -> Self:
        building = await self._build(self._request, None)
        # Nothing is read ahead: the client gets the first piece when it comes.
        self._exchange = building.streamed_read_buffer_limit(0).build_streamed()
        try:
            self._response = await self._exchange.__aenter__()
        except PyreqwestError as error:
            raise _classified(error) from None
        self.status = self._response.status
        self.headers = _headers(self._response.headers)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._exchange is not None:
            await self._exchange.__aexit__(kind, error, trace)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body piece by piece, as it comes."""
        if self._response is None:
            return
        try:
            while (chunk := await self._response.body_reader.read_chunk()) is not None:
                yield bytes(chunk)
        except PyreqwestError as error:
            raise _classified(error) from None


def _exact(text: str) -> Url:
    """The URL, if it goes out as written: the parser would resolve `..` and `%2e%2e`, and encode quotes."""
    try:
        url = Url(text)
    except ValueError:
        raise NotSent("not a URL") from None
    if str(url) != text:
        raise NotSent("the URL would not be sent as it was judged")
    return url


def _headers(received: HeaderMap) -> Headers:
    """Lower-case names and raw values. A value that is not visible ASCII cannot be had, and is left out."""
    try:
        return tuple((name.encode("latin-1").lower(), value.encode("latin-1")) for name, value in received.items())
    except ValueError:
        return tuple(_one_by_one(received))


def _one_by_one(received: HeaderMap) -> list[tuple[bytes, bytes]]:
    kept: list[tuple[bytes, bytes]] = []
    for name in dict.fromkeys(received.keys()):
        try:
            values = received.getall(name)
        except ValueError:
            continue
        kept += [(name.encode("latin-1").lower(), value.encode("latin-1")) for value in values]
    return kept


def _classified(error: PyreqwestError) -> NotSent | AnswerLost:
    """What is known about the request when its exchange failed. In doubt it was delivered."""
    if isinstance(error, PoolTimeoutError | BuilderError):
        return NotSent("no connection was free" if isinstance(error, PoolTimeoutError) else "not a sendable request")
    if isinstance(error, ConnectError | ConnectTimeoutError):
        causes = error.details["causes"] or []
        if any(cause["message"] == _NEVER_CONNECTED for cause in causes):
            return Unreachable("no connection to the server")
    timed_out = isinstance(error, TimeoutError)
    return AnswerLost("no answer in time" if timed_out else "the exchange broke off", timed_out=timed_out)
