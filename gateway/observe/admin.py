"""The admin port: health, metrics and status. Never on the clients' port, and without anything about patients."""

import json
from collections.abc import Callable, Mapping
from typing import Protocol

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

_NO_STORE = {"cache-control": "no-store"}
_EXPOSITION = "text/plain; version=0.0.4; charset=utf-8"


class Status(Protocol):
    """What the admin port asks of the application."""

    def started(self) -> bool:
        """Whether start-up completed, ever."""

    def not_ready(self) -> tuple[str, ...]:
        """Why no request should be sent here now, as fixed names such as `journal`; empty when ready."""

    def describe(self) -> Mapping[str, object]:
        """JSON for /status: revision, last reload and its error, journal counts, overrides in force."""


def admin_app(status: Status, render_metrics: Callable[[], bytes]) -> Starlette:
    """The ASGI application of the admin port."""

    async def livez(_: Request) -> Response:
        return _said("ok")

    async def startupz(_: Request) -> Response:
        return _said("ok") if status.started() else _said("starting", 503)

    async def readyz(_: Request) -> Response:
        if not status.started():
            return _said("starting", 503)
        missing = status.not_ready()
        return _said("not ready: " + ", ".join(missing), 503) if missing else _said("ok")

    async def metrics(_: Request) -> Response:
        return Response(render_metrics(), media_type=_EXPOSITION, headers=_NO_STORE)

    async def describe(_: Request) -> Response:
        body = json.dumps(status.describe(), indent=2, default=str)
        return Response(body + "\n", media_type="application/json", headers=_NO_STORE)

    return Starlette(
        routes=[
            Route("/livez", livez),
            Route("/readyz", readyz),
            Route("/startupz", startupz),
            Route("/metrics", metrics),
            Route("/status", describe),
        ]
    )


def _said(text: str, status: int = 200) -> Response:
    return PlainTextResponse(text + "\n", status_code=status, headers=_NO_STORE)
