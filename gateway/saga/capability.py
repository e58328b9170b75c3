"""What the FHIR server can do for an undo, as a frozen value. `upstream/capability.py` finds it out."""

from dataclasses import dataclass
from enum import StrEnum

_MOST_DIGITS = 18
# HAPI: tags, labels and profiles that the body leaves out are dropped, where they would stick otherwise.
SNAPSHOT = ((b"x-meta-snapshot-mode", b"TAG,SECURITY,PROFILE"),)


class GuardedDelete(StrEnum):
    """How a version, and only that version, is deleted."""

    VERSION_URL = "version-url"  # DELETE [type]/[id]/_history/[version] is compare-and-delete (HAPI)
    IF_MATCH = "if-match"  # DELETE with If-Match is honoured
    READ_COMPARE = "read-compare"  # read, compare, delete: another writer can slip in between


class FindLost(StrEnum):
    """How a POST whose answer was lost is found again."""

    REQUEST_ID = "request-id"  # the server records X-Request-ID in meta.source
    HISTORY = "history"  # [type]/_history?_since=
    ASSIGNED_ID = "assigned-id"  # the POST goes out as a PUT to an id that this gateway drew; only by configuration
    TAG = "tag"  # the POST carries its write id as a meta.tag, searched by _tag; only by configuration
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Capability:
    """The default is conservative: it assumes nothing that FHIR leaves open.

    `restore_headers` go with the PUT that restores a prior version (lower-case names). `numbered_versions`: the
    first version is `1` and each later one is one more; without it no creation is proven by its version.
    `guarded_update`: If-Match on PUT is honoured, so that an outdated write cannot be applied late. `known`: the
    server was asked; until then nothing is looked for or undone, for the wrong way could harm another writer.
    `purges`: one version can be removed from history, and that alone (HAPI's `$expunge`). `records_ids`: the gateway's
    own request ids are recorded whole, as the doctor saw, or as such software does.
    """

    known: bool = True

    software: str = ""
    guarded_delete: GuardedDelete = GuardedDelete.READ_COMPARE
    find_lost: FindLost = FindLost.HISTORY
    restore_headers: tuple[tuple[bytes, bytes], ...] = ()
    numbered_versions: bool = True
    guarded_update: bool = False
    purges: bool = False
    records_ids: bool = False

    def is_first(self, version: str) -> bool:
        """Whether a version proves that nothing was there before."""
        return self.numbered_versions and version == "1"

    def may_be_first(self, version: str) -> bool:
        """Whether it is not known that something was there before."""
        return self.is_first(version) or not self.numbered_versions or _number(version) is None

    def after(self, version: str | None) -> str | None:
        """The version that follows (`None`: nothing before), or None where the server does not count."""
        if not self.numbered_versions:
            return None
        if version is None:
            return "1"
        number = _number(version)
        return None if number is None else str(number + 1)

    def before(self, version: str) -> str | None:
        """The version that precedes, or None where there is none or the server does not count."""
        number = _number(version) if self.numbered_versions else None
        return None if number is None or number <= 1 else str(number - 1)

    def no_later(self, version: str, other: str | None) -> bool:
        """Whether a version is known not to come after another one; False where the server does not count."""
        one, two = _number(version), None if other is None else _number(other)
        return self.numbered_versions and one is not None and two is not None and one <= two


def _number(version: str) -> int | None:
    return int(version) if len(version) <= _MOST_DIGITS and version.isascii() and version.isdigit() else None
