"""Runs the sandbox's applications on loopback ports in this process."""

import asyncio
import socket
from collections.abc import Sequence

import uvicorn
from starlette.types import ASGIApp


def free_port() -> int:
    """A port of the loopback interface that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def server(app: ASGIApp, port: int) -> uvicorn.Server:
    """A quiet server for one application; `serve()` runs it until `should_exit` is set or a signal comes."""
    config = uvicorn.Config(
        app, host="127.0.0.1", port=port, log_level="error", access_log=False, server_header=False, date_header=True,
        lifespan="off",
        # An answer that a switch holds back must not hold up the end.
        timeout_graceful_shutdown=1,
    )  # fmt: skip
    return uvicorn.Server(config)


async def serve_all(applications: Sequence[tuple[ASGIApp, int]]) -> None:
    """Serves every application on its port until one of them stops; then stops the others."""
    servers = [server(app, port) for app, port in applications]

    async def until_stopped(one: uvicorn.Server) -> None:
        await one.serve()
        for other in servers:
            other.should_exit = True

    await asyncio.gather(*(until_stopped(one) for one in servers))
