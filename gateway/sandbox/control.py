"""The sandbox's own switches over HTTP, for tests and the demo; served only where it is asked for, never by default."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass

from gateway.errors import IssueCode
from gateway.fhir.json import Json
from gateway.sandbox import content
from gateway.sandbox.quirks import Quirks, UnknownQuirk
from gateway.sandbox.search import parse_query
from gateway.sandbox.store import Store
from gateway.sandbox.wire import Answer, outcome


@dataclass(frozen=True, slots=True)
class Control:
    """`/__sandbox/quirks` (GET, PUT: all of them; PATCH: some), `/__sandbox/events?after=N`, `/__sandbox/reset`."""

    store: Store

    def answer(self, method: str, path: str, query: str, body: bytes) -> Answer:
        """One request to the switches."""
        handlers: dict[tuple[str, str], Callable[[], Answer]] = {
            ("GET", "quirks"): lambda: _json(self.store.quirks.as_json()),
            ("PUT", "quirks"): lambda: self._quirks(Quirks(), body),
            ("PATCH", "quirks"): lambda: self._quirks(self.store.quirks, body),
            ("GET", "events"): lambda: self._events(query),
            ("POST", "reset"): self._reset,
        }
        handler = handlers.get((method, path.removeprefix("/__sandbox/")))
        return handler() if handler is not None else outcome(404, IssueCode.NOT_FOUND, "no such switch")

    def _quirks(self, before: Quirks, body: bytes) -> Answer:
        try:
            self.store.quirks = before.changed(json.loads(body))
        except (ValueError, UnknownQuirk) as error:
            return outcome(400, IssueCode.INVALID, str(error))
        return _json(self.store.quirks.as_json())

    def _events(self, query: str) -> Answer:
        after = next((int(value) for name, value in parse_query(query) if name == "after" and value.isdigit()), 0)
        return _json([asdict(event) for event in self.store.events[after:]])

    def _reset(self) -> Answer:
        self.store.reset()
        return Answer(status=204)


def _json(value: Json) -> Answer:
    return Answer(status=200, body=content.dump(value).encode(), headers=(("content-type", "application/json"),))
