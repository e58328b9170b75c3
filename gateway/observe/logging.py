"""The operational log: JSON lines on standard error with fixed event names; nothing from requests but ids.

Libraries that log what clients send are silenced at their root: uvicorn's access log prints paths with queries
(searches carry names), HTTP clients print whole URLs.
"""

import logging
import sys
from collections.abc import Mapping, MutableMapping
from typing import TextIO

import structlog

from gateway import exhausted

_QUIET = ("httpx", "httpcore", "uvicorn.access", "asyncio")
_LIBRARIES = ("uvicorn", "uvicorn.error", "concurrent.futures")
# Exceptions are told by type and place: their texts may quote what a client or the FHIR server sent.
_TRACEBACK_FRAMES = 12


def configure(stream: TextIO | None = None, *, level: int = logging.INFO) -> None:
    """Set structlog and the standard library's logging up. Call once, at start."""
    target = stream or sys.stderr
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _without_exception_texts,
            structlog.processors.JSONRenderer(sort_keys=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(target),
        cache_logger_on_first_use=False,
    )
    for name in _QUIET:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.addHandler(logging.NullHandler())
        logger.propagate = False
        logger.disabled = True
    for name in _LIBRARIES:
        logger = logging.getLogger(name)
        logger.handlers = [_LibraryHandler()]
        logger.propagate = False
        logger.setLevel(logging.WARNING)


def _without_exception_texts(_: object, __: str, event: MutableMapping[str, object]) -> Mapping[str, object]:
    given = event.pop("exc_info", None)
    error = sys.exc_info()[1] if given is True else given
    if isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        event["exception"] = describe_exception(error)
    return event


def describe_exception(error: BaseException) -> dict[str, object]:
    """The type of an exception and where it passed, innermost last, without its text."""
    places: list[str] = []
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        places.append(f"{code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return {"type": type(error).__name__, "at": places[-_TRACEBACK_FRAMES:]}


class _LibraryHandler(logging.Handler):
    """Passes on that a library logged, and where: the text itself may hold what a client sent."""

    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger(record.name)
        error = record.exc_info[1] if record.exc_info else None
        exhausted.end_if(error)  # they log what they swallow
        log.log(record.levelno, "library.log", module=record.module, line=record.lineno, exc_info=error)
