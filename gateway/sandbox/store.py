"""What the server holds: every version of every resource, and the log of every request as the truth for tests."""

import string
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from uuid import UUID

from gateway.fhir.json import JsonObject
from gateway.sandbox import content
from gateway.sandbox.quirks import Quirks

Key = tuple[str, str]
Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version. `resource` is None for a tombstone; `method` is what made it."""

    type: str
    id: str
    version: str
    resource: "JsonObject | None"
    updated: datetime
    method: str
    first: bool

    @property
    def deleted(self) -> bool:
        return self.resource is None

    @property
    def etag(self) -> str:
        return f'W/"{self.version}"'

    @property
    def path(self) -> str:
        return f"{self.type}/{self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One request as it ended. `effect` is created, updated, revived, deleted or none."""

    seq: int
    time: str
    method: str
    path: str
    status: int
    effect: str = "none"
    target: str = ""
    version: str = ""
    request_id: str = ""
    if_match: str = ""
    answered: bool = True


@dataclass(slots=True)
class Store:
    """Versions in memory. Every change goes through `put` or `delete`; neither checks a guard."""

    clock: Clock = lambda: datetime.now(UTC)
    quirks: Quirks = field(default_factory=Quirks)
    seed: int = 0
    events: list[Event] = field(default_factory=list)
    _versions: dict[Key, list[Version]] = field(default_factory=dict)
    _order: list[Version] = field(default_factory=list)
    _forgotten: dict[Key, int] = field(default_factory=dict)
    _last_id: int = 1000
    _random: Random = field(init=False)

    def __post_init__(self) -> None:
        self._random = Random(self.seed)  # noqa: S311 # names, not secrets; seeded so that a run can be repeated

    def reset(self) -> None:
        """Forgets every resource, event and quirk. Ids go on, so that no id is used twice."""
        self._versions.clear()
        self._order.clear()
        self._forgotten.clear()
        self.events.clear()
        self.quirks = Quirks()

    def load(self, body: bytes) -> Version:
        """Holds a resource as if it had been PUT, without an event. Raises content.NotAResource."""
        resource = content.parse(body)
        resource_type, resource_id = resource["resourceType"], resource.get("id")
        if not isinstance(resource_type, str) or not isinstance(resource_id, str):
            raise content.NotAResource("a resource to load needs its id")
        return self.put((resource_type, resource_id), resource, method="PUT", request_id="")

    def new_id(self) -> str:
        """A server-assigned id; never one that exists."""
        self._last_id += 1
        return str(self._last_id)

    def new_request_id(self) -> str:
        """Sixteen letters and digits, as HAPI makes them."""
        return "".join(self._random.choices(string.ascii_letters + string.digits, k=16))

    def current(self, key: Key) -> Version | None:
        """The newest version (perhaps a tombstone), or None when the id was never used."""
        versions = self._versions.get(key)
        return versions[-1] if versions else None

    def version(self, key: Key, version: str) -> Version | None:
        """One version by its id."""
        return next((v for v in self._versions.get(key, ()) if v.version == version), None)

    def live(self, resource_type: str | None = None) -> Iterator[Version]:
        """The current version of every resource that is not deleted, oldest first."""
        for versions in self._versions.values():
            if not versions[-1].deleted and resource_type in {None, versions[-1].type}:
                yield versions[-1]

    def sources(self, key: Key) -> Iterator[str]:
        """`meta.source` of every version in history: what a search for `_source` looks at on HAPI."""
        for version in self._versions.get(key, ()):
            source = content.meta_of(version.resource or {}).get("source")
            if isinstance(source, str):
                yield source

    def history(self, resource_type: str | None = None, resource_id: str | None = None) -> Iterator[Version]:
        """Versions, newest first."""
        for version in reversed(self._order):
            if resource_type in {None, version.type} and resource_id in {None, version.id}:
                yield version

    def referrers(self, key: Key) -> Iterable[Version]:
        """The live resources that refer to `key`."""
        target = "/".join(key)
        return (v for v in self.live() if (v.type, v.id) != key and target in _targets(v))

    def put(self, key: Key, resource: JsonObject, *, method: str, request_id: str) -> Version:
        """Appends a version; `resource` is copied and gets its `id` and `meta`."""
        number, first = self._next_version(key)
        now = self.clock()
        stored = content.copy(resource)
        stored["id"] = key[1]
        meta = dict(content.meta_of(stored))
        meta.update(versionId=number, lastUpdated=now.isoformat(timespec="milliseconds").replace("+00:00", "Z"))
        written_source = meta.pop("source", None)
        uri = written_source.partition("#")[0] if isinstance(written_source, str) else ""
        kept = request_id[: self.quirks.request_id_length]
        if uri or kept:
            # HAPI keeps the client's URI and always replaces the fragment, so a client cannot forge a request id.
            meta["source"] = f"{uri}#{kept}" if kept else uri
        # `meta` right after `resourceType` and `id`, the order in which servers commonly write it.
        rest = {name: item for name, item in stored.items() if name not in {"resourceType", "id", "meta"}}
        whole: JsonObject = {"resourceType": key[0], "id": key[1], "meta": meta, **rest}
        return self._append(key, Version(
            type=key[0], id=key[1], version=number, resource=whole, updated=now, method=method, first=first,
        ))  # fmt: skip

    def delete(self, key: Key) -> Version:
        """Appends a tombstone."""
        number, first = self._next_version(key)
        return self._append(key, Version(
            type=key[0], id=key[1], version=number, resource=None, updated=self.clock(), method="DELETE", first=first,
        ))  # fmt: skip

    def forget(self, key: Key, version: str) -> int:
        """Takes a version out of history. Returns how many there were. Later versions keep their numbers."""
        gone = [v for v in self._versions.get(key, ()) if v.version == version]
        self._forgotten[key] = self._forgotten.get(key, 0) + len(gone)
        for each in gone:
            self._versions[key].remove(each)
            self._order.remove(each)
        return len(gone)

    def _append(self, key: Key, version: Version) -> Version:
        self._versions.setdefault(key, []).append(version)
        self._order.append(version)
        return version

    def _next_version(self, key: Key) -> tuple[str, bool]:
        count = len(self._versions.get(key, ())) + self._forgotten.get(key, 0)
        match self.quirks.version_ids:
            case "uuid":
                return str(UUID(int=self._random.getrandbits(128), version=4)), count == 0
            case "skipping":
                return str(count * 10 + 1), count == 0
            case "number":
                return str(count + 1), count == 0


def _targets(version: Version) -> set[str]:
    found = content.references(version.resource)
    return {"/".join(reference.split("/_history/", maxsplit=1)[0].split("/")[-2:]) for reference in found}
