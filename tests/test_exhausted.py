"""Out of memory ends the process, wherever it surfaces, and whoever catches what."""

import subprocess
import sys

import pytest

from gateway import exhausted

PanicException = type("PanicException", (BaseException,), {})  # each Rust library has a class of its own, by this name
_HEAD = """
import asyncio, gc, logging, os, sys, threading
from gateway import exhausted
from gateway.observe.logging import configure
class PanicException(BaseException): ...
exhausted.prepare()
configure()
def lack(): raise {error}
async def fail(): lack()
async def main():
    exhausted.watch(asyncio.get_running_loop())
"""
_PLACES = {
    "a task that nobody awaits": """
    kept = asyncio.create_task(fail())
    await asyncio.sleep(1)
""",
    "a task whose error is taken for a result": """
    await asyncio.gather(fail(), return_exceptions=True)
""",
    "a callback": """
    asyncio.get_running_loop().call_soon(lack)
    await asyncio.sleep(1)
""",
    "a thread": """
    threading.Thread(target=lack).start()
    await asyncio.sleep(1)
""",
    "to_thread": """
    await asyncio.gather(asyncio.create_task(asyncio.to_thread(lack)), return_exceptions=True)
""",
    "a finalizer": """
    class Last:
        def __del__(self): lack()
    Last()
""",
    "a library's log": """
    try: lack()
    except BaseException: logging.getLogger("concurrent.futures").exception("exception calling callback")
""",
    "the cause of another error": """
    async def other():
        try: lack()
        except BaseException as error: raise ValueError("x") from error
    await asyncio.gather(other(), return_exceptions=True)
""",
}


def ended(place: str, error: str) -> "subprocess.CompletedProcess[str]":
    for_uvloop = "import uvloop\nuvloop.run(main())\nprint('lived on')\n"
    script = _HEAD.format(error=error) + place + for_uvloop
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize("error", ["MemoryError", "PanicException"])
@pytest.mark.parametrize("place", _PLACES.values(), ids=_PLACES)
def test_nothing_swallows_it(place: str, error: str) -> None:
    done = ended(place, error)
    assert done.returncode == exhausted.EXIT_CODE, done.stderr
    assert done.stdout == ""
    assert "out of memory" in done.stderr


@pytest.mark.parametrize("place", ["a task whose error is taken for a result", "a library's log", "a finalizer"])
def test_other_errors_end_nothing(place: str) -> None:
    done = ended(_PLACES[place], "ValueError('x')")
    assert (done.returncode, done.stdout) == (0, "lived on\n"), done.stderr


def test_what_came_of_it_is_it() -> None:
    group = BaseExceptionGroup("", [ValueError(), MemoryError()])
    assert exhausted.is_exhausted(group)
    assert exhausted.is_exhausted(PanicException("of Rust"))
    assert not exhausted.is_exhausted(OSError())
    assert not exhausted.is_exhausted(ExceptionGroup("", [ValueError()]))


def test_a_ring_of_causes_ends() -> None:
    first, second = ValueError(), ValueError()
    first.__context__, second.__context__ = second, first
    assert not exhausted.is_exhausted(first)


def test_nobody_reads_standard_error() -> None:
    """A full pipe must not hold the end up."""
    script = (
        "import os\nfrom gateway import exhausted\nr, w = os.pipe()\nos.dup2(w, 2)\nos.set_blocking(2, False)\n"
        "try:\n    while True: os.write(2, b'x' * 65536)\nexcept BlockingIOError: pass\n"
        "os.set_blocking(2, True)\nexhausted.end()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], timeout=20, check=False)
    assert done.returncode == -14  # SIGALRM
