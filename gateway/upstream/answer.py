"""One answer out of the bytes of a connection, read strictly: what has two readings is no answer.

httptools (llhttp) parses and refuses doubtful lengths; here are the bounds, and what it would let pass.
"""

import httptools

from gateway import exhausted
from gateway.saga.ports import Headers

_MOST_HEADERS = 200
_MOST_HEADER_BYTES = 65_536
# Bytes of an unfinished line (of a head, a chunk's extension, a trailer) pile up in the parser, out of sight.
_MOST_UNSEEN = 65_536
_MOST_INTERIM = 8
_SWITCHING, _FINAL, _BEYOND, _NO_CONTENT, _NOT_MODIFIED = 101, 200, 600, 204, 304
_CLOSE, _CHUNKED, _IDENTITY = b"close", b"chunked", b"identity"
_LOOKED_AT = frozenset({b"content-length", b"transfer-encoding", b"connection", b"content-encoding"})


class BrokenAnswer(Exception):
    """The bytes are not one whole answer with one reading. Its text holds nothing of what was received."""


class OversizedAnswer(BrokenAnswer):
    """The body is past the bound."""

    def __init__(self) -> None:
        super().__init__("the answer is larger than the limit")


class AnswerReader:
    """Reads one answer after another on one connection: `begin` before each, then `feed`.

    `head_complete` and `complete` say how far it is; `body` grows, and may be emptied by who reads it in pieces.
    `keep` tells, after the head, whether the connection can be used again.
    """

    __slots__ = (
        "_bodiless",
        "_chunked",
        "_closing",
        "_feed",
        "_header_bytes",
        "_interim",
        "_length",
        "_most",
        "_parser",
        "_read",
        "_unseen",
        "_unusable",
        "body",
        "complete",
        "ends_with_connection",
        "head_complete",
        "headers",
        "keep",
        "status",
    )

    def __init__(self) -> None:
        self._unusable = True  # the parser stands where no answer begins
        self._start(bodiless=False, most=0)

    def begin(self, *, bodiless: bool, most: int) -> None:
        """Expect an answer. `bodiless`: to HEAD. `most` bounds the bytes of its body."""
        if self._unusable:
            self._parser = httptools.HttpResponseParser(self)
            self._feed = self._parser.feed_data
            self._unusable = False
        self._start(bodiless=bodiless, most=most)

    def _start(self, *, bodiless: bool, most: int) -> None:
        self._bodiless, self._most = bodiless, most
        self._interim = self._read = 0
        self.body = bytearray()
        self.complete = self.ends_with_connection = self.keep = False
        self._restart()

    def _restart(self) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.head_complete = False
        self._header_bytes = self._unseen = 0
        self._length: bytes | None = None
        self._chunked = self._closing = False

    def head(self) -> Headers:
        """The header fields: lower-case names and raw values, in the order of the wire."""
        return tuple(self.headers)

    def feed(self, data: bytes) -> None:
        """Read on. Raises BrokenAnswer; after that only a new connection helps."""
        self._unseen += len(data)
        try:
            self._feed(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            exhausted.end_if(error)  # what a callback raised
            self._unusable = True
            cause = error.__context__
            raise (cause if isinstance(cause, BrokenAnswer) else BrokenAnswer("not valid HTTP/1.1")) from None
        if self._unseen > _MOST_UNSEEN and not self.complete:
            self._unusable = True
            raise BrokenAnswer("too much stands where no content is")

    def end(self) -> None:
        """The connection was closed in order. Raises BrokenAnswer when that is not the end of the answer."""
        if not (self.head_complete and self.ends_with_connection):
            raise BrokenAnswer("the connection was closed before the end of the answer")
        self.complete = True

    # The parser calls what follows.

    def on_message_begin(self) -> None:
        if self.complete:
            raise BrokenAnswer("more than one answer came")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > _MOST_HEADER_BYTES or len(self.headers) >= _MOST_HEADERS:
            raise BrokenAnswer("the head is too large")
        if self.head_complete:
            return  # a trailer: never merged (RFC 9110 section 6.5.1)
        name = name.lower()
        value = value.rstrip(b" \t")
        if name in _LOOKED_AT:
            self._look_at(name, value)
        self.headers.append((name, value))

    def _look_at(self, name: bytes, value: bytes) -> None:
        if name == b"content-length":
            self._length = value  # one, and digits: the parser sees to it
        elif name == b"transfer-encoding":
            if self._chunked or value.lower() != _CHUNKED:
                raise BrokenAnswer("a transfer coding that was not asked for")
            self._chunked = True
        elif name == b"connection":
            self._closing = self._closing or _CLOSE in [each.strip() for each in value.lower().split(b",")]
        elif value.lower() != _IDENTITY:
            raise BrokenAnswer("a content coding that was not asked for")

    def on_headers_complete(self) -> None:
        parser = self._parser
        self.status = status = parser.get_status_code()
        self._unseen = 0
        if status < _FINAL:
            self._interim += 1
            if status < 100 or status == _SWITCHING or self._interim > _MOST_INTERIM:  # noqa: PLR2004
                raise BrokenAnswer("no final answer")
            return
        version = parser.get_http_version()
        if status >= _BEYOND or version not in ("1.1", "1.0") or (self._chunked and version == "1.0"):
            raise BrokenAnswer("not an answer of HTTP/1.1")
        self.head_complete = True
        self.keep = parser.should_keep_alive()
        if self._bodiless:
            # The parser does not know that this answers HEAD, and waits for the content it announces.
            self.complete = self._unusable = True
        elif self._length is not None:
            if int(self._length) > self._most and status not in (_NO_CONTENT, _NOT_MODIFIED):
                raise OversizedAnswer
        elif not self._chunked and status not in (_NO_CONTENT, _NOT_MODIFIED):
            if not self._closing:
                raise BrokenAnswer("nothing says where the answer ends")
            self.ends_with_connection = True

    def on_body(self, piece: bytes) -> None:
        if self.complete:
            raise BrokenAnswer("more than the answer came")
        self._unseen = 0
        self._read += len(piece)
        if self._read > self._most:
            raise OversizedAnswer
        self.body += piece

    def on_message_complete(self) -> None:
        if self.status < _FINAL:
            self._restart()
        else:
            self.complete = True
