"""Which CEL engine this installation has."""

from functools import cache
from importlib import import_module
from typing import Final

from gateway.policy.expression import Engine

# The CEL project's own engine; where its wheel does not exist for a platform, the one on cel-python.
CHOICES: Final = (("gateway.policy.cel", "CelEngine"), ("gateway.policy.cel_python", "CelPythonEngine"))


@cache
def cel_engine(choices: tuple[tuple[str, str], ...] = CHOICES) -> Engine:
    """The first engine whose library is installed. Raises ImportError when none is."""
    for module, name in choices:
        try:
            engine: Engine = getattr(import_module(module), name)()
        except ImportError:
            continue
        return engine
    raise ImportError("no CEL engine is installed")
