"""The operational log: JSON lines, and no text that a client or the FHIR server chose."""

import json
import logging as standard
from collections.abc import Iterator
from io import StringIO

import pytest
import structlog

from gateway.observe import logging


@pytest.fixture
def out() -> Iterator[StringIO]:
    stream = StringIO()
    logging.configure(stream)
    yield stream
    structlog.reset_defaults()


def test_an_event_is_one_json_line(out: StringIO) -> None:
    structlog.get_logger("x").info("policy.loaded", revision="a\nb\x1b[31m")
    line = json.loads(out.getvalue())
    assert line["event"] == "policy.loaded"
    assert line["revision"] == "a\nb\x1b[31m"
    assert line["level"] == "info"
    assert out.getvalue().count("\n") == 1
    assert "\x1b" not in out.getvalue()


def test_exceptions_are_told_by_type_and_place_without_their_text(out: StringIO) -> None:
    try:
        int("canary-secret")
    except ValueError:
        structlog.get_logger("x").exception("request.defect")
    line = json.loads(out.getvalue())
    assert line["exception"]["type"] == "ValueError"
    assert "test_logging.py" in line["exception"]["at"][-1]
    assert "canary" not in out.getvalue()


@pytest.mark.parametrize("name", ["httpx", "httpcore", "uvicorn.access"])
def test_libraries_that_print_urls_are_silent(out: StringIO, name: str) -> None:
    standard.getLogger(name).info("GET http://up/fhir/Patient?name=canary")
    standard.getLogger(name).error("GET http://up/fhir/Patient?name=canary")
    assert out.getvalue() == ""


def test_other_words_of_the_server_library_lose_their_text(out: StringIO) -> None:
    try:
        int("canary")
    except ValueError:
        standard.getLogger("uvicorn.error").exception("Exception in ASGI application: %s", "canary")
    line = json.loads(out.getvalue())
    assert line["event"] == "library.log"
    assert line["level"] == "error"
    assert line["exception"]["type"] == "ValueError"
    assert "canary" not in out.getvalue()
    standard.getLogger("uvicorn.error").info("quiet")
    assert out.getvalue().count("\n") == 1
