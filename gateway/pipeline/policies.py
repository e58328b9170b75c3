"""The policies in force, and those that open writes were let in by.

A bad set never replaces a good one: a reload that fails leaves the set in force and is told by metric and log. A
write keeps the set that it began with, also for the rules of phase `after`, also after a restart.
"""

import json
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import structlog

from gateway.policy.engines import standard_engines
from gateway.policy.loader import load, load_sources
from gateway.policy.policy_set import PolicySet, Source
from gateway.policy.problems import PolicyErrors
from gateway.saga.journal_port import Journal

_log = structlog.get_logger("policies")


class PolicyMetrics(Protocol):
    """What is told about the set in force."""

    def policy_set(self, revision: str, counts: dict[str, int], timestamp: float) -> None: ...

    def policy_reload(self, *, succeeded: bool) -> None: ...


class Policies:
    """Holds the set in force. `problems` are those of the last reload that failed, empty when it succeeded."""

    def __init__(self, paths: Sequence[Path], release: str, metrics: PolicyMetrics) -> None:
        """Load the set. Raises PolicyErrors: a gateway without sound policies does not start."""
        self._paths = tuple(paths)
        self._release = release
        self._metrics = metrics
        self._journal: Journal | None = None
        self._sets: dict[str, PolicySet] = {}
        self.problems: tuple[str, ...] = ()
        self.loaded_at = 0.0
        self._current = load(self._paths, release=release, engines=standard_engines())
        self._seen = self._stamps()
        self._in_force(self._current)

    def current(self) -> PolicySet:
        """The set in force."""
        return self._current

    def recorded(self, revision: str) -> PolicySet | None:
        """The set of a revision that some open write was let in by."""
        return self._sets.get(revision)

    async def recalled(self, revision: str) -> PolicySet | None:
        """The same, read from the journal where it is not at hand. Raises JournalUnavailable."""
        if revision not in self._sets and self._journal is not None:
            await self._recall(self._journal, revision)
        return self._sets.get(revision)

    async def keep_in(self, journal: Journal) -> None:
        """Record the set in force before the first write, and read back the sets of every open write.

        Raises JournalUnavailable.
        """
        self._journal = journal
        await self._record(self._current)
        for revision in await journal.open_revisions():
            if revision not in self._sets:
                await self._recall(journal, revision)

    async def reload(self) -> bool:
        """Load the files again. Returns whether a sound set is in force that equals them."""
        self._seen = self._stamps()
        try:
            fresh = load(self._paths, release=self._release, engines=standard_engines())
        except PolicyErrors as errors:
            self.problems = tuple(str(problem) for problem in errors.problems)
            self._metrics.policy_reload(succeeded=False)
            _log.error("policies.reload_failed", problems=len(self.problems), first=self.problems[0])
            return False
        if fresh.revision != self._current.revision:
            # Durable before it judges: a write must never be let in by a set that recovery could not find.
            await self._record(fresh)
            self._current = fresh
        self.problems = ()
        self._metrics.policy_reload(succeeded=True)
        self._in_force(self._current)
        _log.info(
            "policies.loaded",
            revision=self._current.revision,
            policies=len(self._current.policies),
            engines=self._current.engines.names,
        )
        return True

    def changed(self) -> bool:
        """Whether a file of the set was added, removed or written since it was last read."""
        return self._stamps() != self._seen

    async def _record(self, policies: PolicySet) -> None:
        if self._journal is not None:
            texts = [{"name": source.name, "text": source.text} for source in policies.sources]
            await self._journal.record_policy_set(policies.revision, json.dumps(texts))
        self._sets[policies.revision] = policies

    async def _recall(self, journal: Journal, revision: str) -> None:
        kept = await journal.policy_set(revision)
        if kept is None:
            _log.error("policies.recorded_set_lost", revision=revision)
            return
        sources = tuple(Source(name=each["name"], text=each["text"]) for each in json.loads(kept))
        try:
            self._sets[revision] = load_sources(sources, release=self._release, engines=standard_engines())
        except PolicyErrors as errors:
            _log.error("policies.recorded_set_unreadable", revision=revision, problems=len(errors.problems))

    def _in_force(self, policies: PolicySet) -> None:
        self._sets[policies.revision] = policies
        self.loaded_at = time.time()
        counts: dict[str, int] = {}
        for policy in policies.policies:
            for rule in (*policy.before.rules, *policy.after.rules):
                counts[rule.mode.value] = counts.get(rule.mode.value, 0) + 1
        self._metrics.policy_set(policies.revision, counts, self.loaded_at)

    def _stamps(self) -> dict[Path, tuple[int, int]]:
        return {file: stamp for file in _files(self._paths) if (stamp := _stamp(file)) is not None}


def _files(paths: Iterable[Path]) -> Iterable[Path]:
    for path in paths:
        if path.is_dir():
            yield from sorted(path.rglob("*.y*ml"))
        else:
            yield path


def _stamp(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_size)
