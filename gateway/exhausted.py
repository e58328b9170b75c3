"""Out of memory: the process ends at once, as `kill -9` ends it, and whoever starts it again recovers from the disk.

After a failed allocation nothing can be relied on: a future may never be told, a thread may be gone, a lock may be
held. A process that lives on then neither works nor is started again. So no `except` decides what follows: each
edge where an exception could be swallowed asks `end_if` first. Nothing is flushed or rolled back: every promise is
made for a process that may be killed at any instant (PROMISES.md).
"""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Coroutine, Generator
from typing import Any, Final, NoReturn

# EX_OSERR of sysexits.h; deploy/RUNBOOK.md tells the operator.
EXIT_CODE: Final = 71
_LINE: Final = b"fhir-gateway: out of memory; the process ends (deploy/RUNBOOK.md: Out of memory)\n"
_STDERR: Final = 2
_DEEPEST: Final = 20


def end() -> NoReturn:
    """End the process with `EXIT_CODE`. No handler runs, nothing is flushed."""
    try:
        signal.alarm(1)  # should nobody read standard error, the kernel ends the process
        os.write(_STDERR, _LINE)
    finally:
        os._exit(EXIT_CODE)


def end_if(error: BaseException | None) -> None:
    """End the process when the error is, or came of, a failed allocation."""
    if error is not None and is_exhausted(error):
        end()


def is_exhausted(error: BaseException) -> bool:
    """Whether it is a MemoryError or a panic of a Rust library, or was raised because of one.

    A panic is a defect or a failed allocation, and the library says only that it does not know its own state.
    """
    seen: BaseException | None = error
    for _ in range(_DEEPEST):
        if seen is None:
            return False
        if isinstance(seen, MemoryError) or type(seen).__name__ == "PanicException":
            return True
        if isinstance(seen, BaseExceptionGroup) and any(is_exhausted(each) for each in seen.exceptions):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def prepare() -> None:
    """For the whole process, before anything is built: threads, finalizers, and Rust."""
    # On its way to a backtrace a panic allocates while it holds a lock; if that fails as well, Rust waits for the lock
    # for ever, and Python with it, for the panicking thread has the interpreter.
    os.environ["RUST_BACKTRACE"] = os.environ["RUST_LIB_BACKTRACE"] = "0"
    threading.excepthook = _in_thread
    sys.unraisablehook = _unraisable


def watch(loop: asyncio.AbstractEventLoop) -> None:
    """For every callback and task of the loop, whoever makes them, and whether or not anybody awaits them."""
    loop.set_exception_handler(_in_callback)
    loop.set_task_factory(_task)


def _in_thread(hook: threading.ExceptHookArgs) -> None:
    end_if(hook.exc_value)
    threading.__excepthook__(hook)


def _unraisable(hook: "sys.UnraisableHookArgs") -> None:
    end_if(hook.exc_value)
    sys.__unraisablehook__(hook)


def _in_callback(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    end_if(context.get("exception"))
    loop.default_exception_handler(context)


def _task(
    loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any] | Generator[Any, None, Any], **how: Any
) -> "asyncio.Task[Any]":
    task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, **how)
    # The first callback of all: it runs before whoever awaits the task is woken.
    task.add_done_callback(_done)
    return task


def _done(task: "asyncio.Task[Any]") -> None:
    # Not `exception()`: that would count as somebody having looked, and asyncio would no longer tell of the rest.
    end_if(task._exception)  # noqa: SLF001
