"""Which CEL engine this installation has."""

from functools import cache
from importlib import import_module

from gateway.policy.expression import Engine


@cache
def cel_engine() -> Engine:
    """The CEL project's own engine; where its wheel does not exist for this platform, the one on cel-python.

    Raises ImportError when neither is installed.
    """
    try:
        first = import_module("gateway.policy.cel")
    except ImportError:
        second = import_module("gateway.policy.cel_python")
        fallback: Engine = second.CelPythonEngine()
        return fallback
    engine: Engine = first.CelEngine()
    return engine
