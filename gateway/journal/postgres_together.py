"""The few statements of which every write has some, sent together: all at once, in one go to the server and back.

What psycopg does for each statement by itself (a cursor, a look at each value's type, two system calls) costs more than
the statement. These few are prepared once per connection, and their values are texts, numbers, bytes and nothing else.
"""

import re
import select
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import psycopg
from psycopg import errors
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn, PGresult
from psycopg.rows import DictRow, RowFactory, dict_row

from gateway.journal.rows import Value, Values
from gateway.journal.statements import Picking, numbered, statements

_PARAMETER = re.compile(r"%\((\w+)\)s")
_TEXT, _BINARY = 0, 1
_FIT = (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK)
_Sent = tuple[list[bytes | None], list[int]]


class NotTogether(Exception):
    """A statement, or a look at an answer, that needs the ordinary way. Nothing was sent."""


@dataclass(slots=True)
class Answer:
    """What a statement will have changed: -1 until it was sent."""

    rowcount: int = -1

    def fetchall(self) -> list[DictRow]:
        """Rows are read the ordinary way. Raises NotTogether."""
        raise NotTogether


@dataclass(frozen=True, slots=True)
class _Statement:
    name: bytes
    sql: bytes
    picked: Picking


def _statement(name: str, sql: str) -> _Statement:
    text, picked = numbered(sql, _PARAMETER, "$")
    return _Statement(f"journal_{name}".encode(), text.encode(), picked)


_KNOWN: dict[str | bytes, _Statement] = {
    sql.encode(): _statement(name, sql)
    for name, sql in statements("postgresql").items()
    if name in {"hold_lease", "begin", "advance", "close"}
}


class Together:
    """Takes the place of a connection while a transaction's statements are put together."""

    def __init__(self) -> None:
        self._asked: list[tuple[_Statement | None, _Sent, Answer]] = []

    def execute(self, sql: str | bytes, values: Values | None = None) -> Answer:
        """To be sent with the others. Raises NotTogether for any but the few, psycopg.DataError for what is no text."""
        answer = Answer()
        if sql == "BEGIN":
            self._asked.append((None, ([], []), answer))
            return answer
        statement = _KNOWN.get(sql)
        if statement is None or values is None:
            raise NotTogether
        self._asked.append((statement, _sent(statement.picked(values)), answer))
        return answer

    def pipeline(self) -> AbstractContextManager[object]:
        """Whoever waits for an answer here waits in vain. Raises NotTogether."""
        raise NotTogether

    def exchange(self, pgconn: PGconn, prepared: set[bytes]) -> None:
        """Send it all, and read what it changed. `prepared` are the statements that the server knows already."""
        pgconn.enter_pipeline_mode()
        answers: list[Answer | None] = []
        for statement, (values, forms), answer in self._asked:
            if statement is None:
                pgconn.send_query_params(b"BEGIN", None)
            else:
                if statement.name not in prepared:
                    pgconn.send_prepare(statement.name, statement.sql)
                    prepared.add(statement.name)
                    answers.append(None)
                pgconn.send_query_prepared(statement.name, values, forms)
            answers.append(answer)
        pgconn.pipeline_sync()
        _send(pgconn)
        _read(pgconn, answers)
        pgconn.exit_pipeline_mode()


class PostgresConnection(psycopg.Connection[DictRow]):
    """A connection that can send the few statements together."""

    def __init__(self, pgconn: PGconn, row_factory: RowFactory[DictRow] = dict_row) -> None:
        super().__init__(pgconn, row_factory)
        self._known: set[bytes] = set()

    @contextmanager
    def together(self) -> Iterator[Together]:
        """Sent at the end; the answers are there after it. Raises psycopg.Error, and then it is not to be used again.

        What is raised inside (NotTogether) ends it with nothing sent.
        """
        together = Together()
        yield together
        together.exchange(self.pgconn, self._known)


def _sent(values: tuple[Value | list[str], ...]) -> _Sent:
    """As the server reads them; their types are those of the columns. Raises psycopg.DataError."""
    sent: list[bytes | None] = []
    forms: list[int] = []
    for value in values:
        if value is None:
            sent.append(None)
            forms.append(_TEXT)
        elif isinstance(value, str):
            if "\0" in value:
                raise psycopg.DataError("a text of PostgreSQL holds no NUL")
            sent.append(value.encode())
            forms.append(_BINARY)  # with its length: nothing in it can end it
        elif isinstance(value, bytes):
            sent.append(value)
            forms.append(_BINARY)
        elif isinstance(value, bool):
            sent.append(b"t" if value else b"f")
            forms.append(_TEXT)
        elif isinstance(value, int | float):
            sent.append(repr(value).encode())
            forms.append(_TEXT)
        else:
            raise NotTogether
    return sent, forms


def _send(pgconn: PGconn) -> None:
    """Until all has left. What the server says meanwhile is read: else it might stop listening."""
    while pgconn.flush():
        if _wait(pgconn, select.POLLIN | select.POLLOUT) & ~select.POLLOUT:
            pgconn.consume_input()


def _read(pgconn: PGconn, answers: list[Answer | None]) -> None:
    """Every answer, and the end of them. Raises the first error."""
    failed: PGresult | None = None
    for answer in answers:
        result = _result(pgconn)
        if result.status in _FIT:
            if answer is not None:
                answer.rowcount = result.command_tuples or 0
        elif failed is None:
            failed = result
    if failed is not None:
        raise errors.error_from_result(failed)
    if _result(pgconn).status != ExecStatus.PIPELINE_SYNC:
        raise psycopg.OperationalError("the server's answers are out of step")


def _result(pgconn: PGconn) -> PGresult:
    """The next answer. Raises psycopg.OperationalError when the connection is gone."""
    for _ in range(2):  # None stands between the answers to two statements
        while pgconn.is_busy():
            _wait(pgconn, select.POLLIN)
            pgconn.consume_input()
        result = pgconn.get_result()
        if result is not None:
            return result
    raise psycopg.OperationalError("the server's answers end too early")


def _wait(pgconn: PGconn, events: int) -> int:
    """Until the connection can be read or written, or is broken. Others have the interpreter meanwhile."""
    poll = select.poll()
    poll.register(pgconn.socket, events)
    ((_, happened),) = poll.poll()
    return happened
