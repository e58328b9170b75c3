"""Turns the engine's compile messages into problems at an offset."""

import re

from gateway.policy.expression import ExpressionProblem

_MESSAGE = re.compile(
    r"^(?:INVALID_ARGUMENT: )?ERROR: <input>:(\d+):(\d+): (.*?)(?: \[INVALID_ARGUMENT\])?$", re.MULTILINE
)


def problems(text: str, source: str) -> tuple[ExpressionProblem, ...]:
    """Every problem in the engine's message; positions are line:column in code points, both from 1."""
    found = []
    for line, column, message in _MESSAGE.findall(text):
        start = sum(len(row) for row in source.splitlines(keepends=True)[: int(line) - 1])
        found.append(ExpressionProblem(message=message, offset=start + int(column) - 1))
    return tuple(found) or (ExpressionProblem(message="cannot be compiled"),)
