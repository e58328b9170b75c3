"""A problem in a source text."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A problem in a source text. `offset` counts code points from the start of the text.

    `kind`: `syntax` when the text is no expression, `semantic` when it is one and cannot be right, `execution` when
    the language leaves it to the evaluation, which can only fail; so the official suites tell them apart. `fixed` when
    nothing fails, and the answer is always the same.
    `is_absent`: it reads an element that the model has not, which the language itself forbids; other findings are of
    use to authors.
    """

    message: str
    offset: int = 0
    length: int = 1
    hint: str | None = None
    is_warning: bool = False
    kind: str = "semantic"
    is_absent: bool = False
