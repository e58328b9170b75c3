"""What follows from the findings about a FHIR server. Pure: findings in, a `Capability` and a report out."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from gateway.saga.capability import SNAPSHOT, Capability, FindLost, GuardedDelete
from gateway.saga.intent import WRITE_ID_LENGTH
from gateway.upstream.findings import Findings, Guard, Guarded, Search

_CREATED = 201
_REFUSED = 400


class Grade(StrEnum):
    """How good it is for the gateway's promises."""

    GOOD = "good"
    LIMITED = "limited"  # the gateway works around it, or a person has to decide more often
    BAD = "bad"  # a promise cannot be kept on this server
    UNKNOWN = "unknown"  # not probed, or the probe broke off


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the report: what was looked at, what was seen, and what the gateway does about it."""

    topic: str
    grade: Grade
    seen: str
    then: str


def capability_of(found: Findings) -> Capability:
    """The capability that the findings prove; what was not probed is not assumed."""
    labels = found.labels
    return Capability(
        software=found.software,
        guarded_delete=_guarded_delete(found),
        find_lost=_find_lost(found),
        restore_headers=SNAPSHOT if labels is not None and labels.stick and labels.dropped_by_header else (),
        numbered_versions=found.creation is None or found.creation.counts is not False,
        guarded_update=found.update is not None and found.update.guard is Guard.HONOURED,
        purges=found.expunge is True,
        records_ids=_records_ids(found),
    )


def _guarded_delete(found: Findings) -> GuardedDelete:
    for guarded, way in (
        (found.delete_version_url, GuardedDelete.VERSION_URL),
        (found.delete_if_match, GuardedDelete.IF_MATCH),
    ):
        if guarded is not None and guarded.guard is Guard.HONOURED:
            return way
    return GuardedDelete.READ_COMPARE


def _records_ids(found: Findings) -> bool:
    return found.recorded is not None and found.recorded.of_sixteen == WRITE_ID_LENGTH


def _find_lost(found: Findings) -> FindLost:
    source, history = found.source, found.history
    if _records_ids(found) and source is not None and source.proven:
        return FindLost.REQUEST_ID
    if history is not None and history.supported and history.selective and history.finds is not False:
        return FindLost.HISTORY
    return FindLost.NONE


def settings_of(found: Findings) -> dict[str, str]:
    """Keys below `upstream` of gateway.yaml that follow."""
    if not found.wrote:
        return {"find_lost_writes": "auto"}
    capability = capability_of(found)
    return {
        "find_lost_writes": capability.find_lost.value,
        "purge": "expunge" if capability.purges else "none",
    }


def lines_of(found: Findings) -> tuple[Line, ...]:
    """The report, topic by topic."""
    return tuple(_lines(found))


def _lines(found: Findings) -> Iterator[Line]:
    yield _creation(found)
    yield _request_id(found)
    yield _search("Found again by request id", found.source, "lost creations are looked for by request id")
    yield _search("Found again by history", found.history, "first versions are looked for in the type's history")
    yield _search("Found again by tag", found.tag, "only with find_lost_writes: tag, which adds one to what is sent")
    yield _update(found)
    yield _update_absent(found)
    yield _unchanged(found)
    yield _delete(found)
    yield _restore(found)
    yield _labels(found)
    yield _if_none_exist(found)
    yield _client_ids(found)
    yield _references(found)
    yield _purge(found)


def _unknown(topic: str, then: str = "assumes nothing") -> Line:
    return Line(topic=topic, grade=Grade.UNKNOWN, seen="not probed", then=then)


def _creation(found: Findings) -> Line:
    topic, seen = "Proof of creation", found.creation
    if seen is None:
        return _unknown(topic)
    text = f"{seen.status}, version {seen.version or 'not told'}, Location {seen.location}"
    if seen.proven and seen.first:
        return Line(topic=topic, grade=Grade.GOOD, seen=text, then="the answer proves it: undone by a delete")
    if seen.status != _CREATED:
        return Line(topic=topic, grade=Grade.BAD, seen=text, then="nothing else could be probed")
    why = "versions do not count from 1" if seen.proven else "the answer does not name what was stored"
    then = f"{why}: a creation that must not stay ends stuck, for a person"
    return Line(topic=topic, grade=Grade.BAD, seen=text, then=then)


def _request_id(found: Findings) -> Line:
    topic, seen = "Request id recorded", found.recorded
    if seen is None:
        return _unknown(topic)
    text = f"{seen.of_sixteen} of 16 characters, {seen.of_longer} of 36"
    if seen.of_sixteen == WRITE_ID_LENGTH:
        return Line(topic=topic, grade=Grade.GOOD, seen=text, then="every write carries an id of its own")
    return Line(topic=topic, grade=Grade.LIMITED, seen=text, then="too little to tell a write by: not used")


def _search(topic: str, seen: Search | None, then: str) -> Line:
    if seen is None:
        return _unknown(topic)
    if not seen.supported:
        return Line(topic=topic, grade=Grade.LIMITED, seen="refused by the server", then="not used")
    if not seen.selective:
        return Line(topic=topic, grade=Grade.LIMITED, seen="finds what nobody wrote", then="not used")
    if seen.finds is None:
        return Line(topic=topic, grade=Grade.UNKNOWN, seen="finds nothing for nobody's write", then="hits are checked")
    if not seen.finds:
        return Line(topic=topic, grade=Grade.LIMITED, seen="does not find what is there", then="not used")
    text = "finds a write at once"
    text += ", cached without no-cache" if seen.cached else ""
    text += ", also an overwritten one" if seen.older else ""
    return Line(topic=topic, grade=Grade.GOOD, seen=text, then=then)


def _guard_text(seen: Guarded) -> str:
    fitting = f", the fitting one {seen.fitting}" if seen.fitting else ""
    return f"{seen.guard.value}: the outdated one got {seen.outdated}{fitting}"


def _update(found: Findings) -> Line:
    topic, seen = "Guarded update", found.update
    if seen is None:
        return _unknown(topic)
    if seen.guard is Guard.HONOURED:
        then = "replaces only the version that was judged"
        return Line(topic=topic, grade=Grade.GOOD, seen=_guard_text(seen), then=then)
    then = "another writer's version can be replaced unseen; what was replaced is judged afterwards"
    return Line(topic=topic, grade=Grade.BAD, seen=_guard_text(seen), then=then)


def _update_absent(found: Findings) -> Line:
    topic, seen = "Guarded update of nothing", found.update_absent
    if seen is None:
        return _unknown(topic)
    if seen.guard is Guard.HONOURED:
        return Line(topic=topic, grade=Grade.GOOD, seen=f"refused with {seen.outdated}", then="as it should be")
    then = "judges a client's If-Match by itself, before it sends"
    return Line(topic=topic, grade=Grade.LIMITED, seen=f"created, with {seen.outdated}", then=then)


def _unchanged(found: Findings) -> Line:
    topic, seen = "Unchanged update", found.unchanged
    if seen is None:
        return _unknown(topic)
    text = "makes a version" if seen else "makes no version and records no request id"
    return Line(topic=topic, grade=Grade.GOOD, seen=text, then="an unmoved version means that nothing is to be undone")


def _delete(found: Findings) -> Line:
    topic, url, header = "Guarded delete", found.delete_version_url, found.delete_if_match
    if url is None and header is None:
        return _unknown(topic)
    seen = "; ".join(
        f"{name} {guarded.guard.value}"
        for name, guarded in (("version in the URL", url), ("If-Match", header))
        if guarded
    )
    way = _guarded_delete(found)
    if way is GuardedDelete.READ_COMPARE:
        then = "reads, compares, deletes: a writer in between can lose a version"
        return Line(topic=topic, grade=Grade.BAD, seen=seen, then=then)
    how = "DELETE [id]/_history/[version]" if way is GuardedDelete.VERSION_URL else "DELETE with If-Match"
    return Line(topic=topic, grade=Grade.GOOD, seen=seen, then=how)


def _restore(found: Findings) -> Line:
    topic, seen = "Revival of a deleted id", found.revival
    if seen is None:
        return _unknown(topic)
    text = f"{seen.status}, If-Match on the deletion {seen.guarded.value}"
    if found.deleted_reads_as is not None:
        text += f"; deleted reads as {found.deleted_reads_as}"
    if seen.status >= _REFUSED:
        return Line(topic=topic, grade=Grade.LIMITED, seen=text, then="a deleted id stays deleted")
    good = seen.guarded is Guard.HONOURED
    then = "revives only the deletion that was judged" if good else "a write in between is not held back"
    return Line(topic=topic, grade=Grade.GOOD if good else Grade.LIMITED, seen=text, then=then)


def _labels(found: Findings) -> Line:
    topic, seen = "Guarded restore", found.labels
    if seen is None:
        return _unknown(topic)
    if not seen.stick:
        return Line(topic=topic, grade=Grade.GOOD, seen="tags are replaced", then="PUT of the version before")
    if seen.dropped_by_header:
        then = "PUT of the version before, with X-Meta-Snapshot-Mode"
        return Line(topic=topic, grade=Grade.GOOD, seen="tags stick, but not with the header", then=then)
    then = "an undone update that added a tag ends stuck, for a person"
    return Line(topic=topic, grade=Grade.LIMITED, seen="tags stick", then=then)


def _if_none_exist(found: Findings) -> Line:
    topic, seen = "If-None-Exist", found.if_none_exist
    if seen is None:
        return _unknown(topic)
    if seen:
        return Line(topic=topic, grade=Grade.GOOD, seen="a match keeps it from writing", then="passes it on")
    return Line(topic=topic, grade=Grade.LIMITED, seen="ignored", then="passes it on; clients get duplicates")


def _client_ids(found: Findings) -> Line:
    topic, seen = "Update as create", found.client_ids
    if seen is None:
        return _unknown(topic)
    letters, digits = ("accepted" if status == _CREATED else f"{status}" for status in (seen.letters, seen.digits))
    text = f"id with letters: {letters}; of digits: {digits}"
    good = seen.letters == _CREATED
    then = "a PUT to a new id is found by that id" if good else "clients cannot choose ids"
    return Line(topic=topic, grade=Grade.GOOD if good else Grade.LIMITED, seen=text, then=then)


def _references(found: Findings) -> Line:
    topic, seen = "References", found.references
    if seen is None:
        return _unknown(topic)
    dangling = "refused" if seen.dangling_refused else "accepted"
    deletes = {True: "refused", False: "accepted", None: "not probed"}[seen.delete_refused]
    then = (
        "an undo waits while something refers to it, then a person decides" if seen.delete_refused else "undo goes on"
    )
    text = f"to nothing: {dangling}; deletion of what is referred to: {deletes}"
    return Line(topic=topic, grade=Grade.GOOD if seen.dangling_refused else Grade.LIMITED, seen=text, then=then)


def _purge(found: Findings) -> Line:
    topic, seen = "Purge of history ($expunge)", found.expunge
    if seen is None:
        return _unknown(topic, "removed content stays in history")
    if seen:
        return Line(topic=topic, grade=Grade.GOOD, seen="removes exactly one version", then="only with purge: expunge")
    return Line(topic=topic, grade=Grade.LIMITED, seen="not available", then="removed content stays in history")
