"""Ends a connection on which the client is still sending, without losing the answer."""

import asyncio

from gateway.ingress.body import Receive

_SECONDS = 2.0
_IDLE_SECONDS = 0.5
_BYTES = 50_000_000


async def linger(receive: Receive) -> None:
    """Throw away what arrives, until the body ends, the client goes, or nothing more comes for a moment."""
    left = _BYTES
    try:
        async with asyncio.timeout(_SECONDS):
            while left > 0:
                async with asyncio.timeout(_IDLE_SECONDS):
                    message = await receive()
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return
                left -= len(message.get("body", b""))
    except TimeoutError:
        return
