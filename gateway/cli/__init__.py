"""The command line: a file a verb.

A verb's module is imported only when it is called, so that `--help` and shell completion answer at once.
"""

from gateway.cli.application import main

__all__ = ["main"]
