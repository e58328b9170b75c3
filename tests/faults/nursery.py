"""`python -m tests.faults.nursery`: makes gateway processes by fork, so that a start costs no second import.

Each child is a process of its own that runs `fhir-gateway serve` from the first line of its `main`; it can be
killed like any other. One JSON object a line on stdin: `{"start": [arguments], "env": {…}, "log": path}` answers
the process id, `{"wait": pid}` its exit code (null while it runs; negative: the signal).
"""

import json
import os
import signal
import sys
from typing import NoReturn

import gateway.app
import gateway.cli.serve
import gateway.journal.postgres
from gateway.cli.application import main
from gateway.fhir import shape
from gateway.policy.engines import standard_engines

_PRELOADED = (
    gateway.app,
    gateway.cli.serve,
    gateway.journal.postgres,
    standard_engines(),
    shape.check({"resourceType": "Observation"}),
)


def _become(arguments: list[str], environment: dict[str, str], log: str) -> NoReturn:
    code = 70
    try:
        os.setsid()
        descriptor = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for number, source in ((0, nothing), (1, descriptor), (2, descriptor)):
            os.dup2(source, number)
        os.environ.update(environment)
        sys.argv = ["fhir-gateway", *arguments]
        main()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _wait(pid: int, ended: dict[int, int]) -> int | None:
    if pid not in ended:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            ended[pid] = os.waitstatus_to_exitcode(status)
    return ended.get(pid)


def serve() -> None:
    """Until stdin closes; nobody outlives that."""
    ended: dict[int, int] = {}
    started: list[int] = []
    for line in sys.stdin:
        asked = json.loads(line)
        answer: int | None
        if "start" in asked:
            answer = os.fork()
            if answer == 0:
                _become(asked["start"], asked["env"], asked["log"])
            started.append(answer)
        else:
            answer = _wait(asked["wait"], ended)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    for pid in started:
        if _wait(pid, ended) is None:
            os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    serve()
