"""A process with a small application behind `run_worker`, for the tests of starting and stopping.

Its clients' port answers after a delay named in the path; the begin of such a request, `reload` and `stop` are told on
standard output.
"""

import asyncio
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

import uvloop

from gateway.cli.serve_process import bind, run_worker
from gateway.config import Address
from gateway.errors import GatewayError
from gateway.ingress.body import Receive
from gateway.ingress.responses import PLAIN_JSON, Reply, Send, error_reply, send_reply
from gateway.observe import logging
from gateway.observe.admin import admin_app


class SmallApplication:
    def __init__(self, start_seconds: float) -> None:
        self._start_seconds = start_seconds
        self._started = False
        self.admin = admin_app(self, lambda: b"")

    async def asgi(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        seconds = float(scope["path"].strip("/") or 0)
        if seconds:
            print("begun", flush=True)  # noqa: T201
        await asyncio.sleep(seconds)
        await send_reply(send, Reply(status=200, headers=(PLAIN_JSON,), body=b"{}"), "id", receive)

    def refuse(self, error: GatewayError) -> Reply:
        return error_reply(error, "id")

    async def start(self) -> None:
        await asyncio.sleep(self._start_seconds)
        self._started = True

    async def stop(self, grace: float) -> None:
        print(f"stopped {grace}", flush=True)  # noqa: T201

    async def reload(self) -> None:
        print("reloaded", flush=True)  # noqa: T201

    def started(self) -> bool:
        return self._started

    def not_ready(self) -> tuple[str, ...]:
        return ()

    def describe(self) -> Mapping[str, object]:
        return {}


if __name__ == "__main__":
    logging.configure()
    clients, admin = bind(Address(host="127.0.0.1", port=0)), bind(Address(host="127.0.0.1", port=0))
    print(clients.getsockname()[1], admin.getsockname()[1], flush=True)  # noqa: T201
    uvloop.run(run_worker(SmallApplication(float(sys.argv[1])), clients, admin, tls=None, grace=3.0))
