"""The bare pass-through that the gateway is compared with: starlette and pyreqwest on uvicorn, judging nothing.

`python -m tests.bench.passthrough PORT UPSTREAM_ORIGIN`
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from pyreqwest.client import Client, ClientBuilder
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

PASSED_ON = {"content-type", "location", "content-location", "etag", "last-modified"}


def application(origin: str) -> Starlette:
    """Forwards every request to the same path of `origin`."""
    client: Client

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        nonlocal client
        async with ClientBuilder().error_for_status(False).no_proxy().build() as client:
            yield

    async def forward(request: Request) -> Response:
        sent = client.request(request.method, origin + request.url.path).body_bytes(await request.body())
        answer = await sent.header("content-type", request.headers.get("content-type", "")).build().send()
        body = bytes(await answer.bytes())
        headers = {name: value for name, value in answer.headers.items() if name in PASSED_ON}
        return Response(body, answer.status, headers)

    return Starlette(routes=[Route("/{path:path}", forward, methods=["GET", "POST", "PUT"])], lifespan=lifespan)


if __name__ == "__main__":
    uvicorn.run(
        application(sys.argv[2]), host="127.0.0.1", port=int(sys.argv[1]), loop="uvloop", http="httptools",
        access_log=False, log_level="error",
    )  # fmt: skip
