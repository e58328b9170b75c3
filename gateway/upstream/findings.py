"""What probes of a live FHIR server saw, as frozen values. None always means: not probed, or it did not tell."""

from dataclasses import dataclass
from enum import StrEnum


class Guard(StrEnum):
    """What a server does with a request whose guard names a version that is not the current one."""

    HONOURED = "honoured"  # the outdated one is refused, the fitting one carried out
    IGNORED = "ignored"  # the outdated one is carried out
    UNSUPPORTED = "unsupported"  # the fitting one is refused as well


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarded:
    """`outdated` and `fitting` are the statuses of the two requests; 0 where one was not sent."""

    guard: Guard
    outdated: int
    fitting: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Creation:
    """The answer to a POST. `location`: absolute or relative, versioned or not, or none."""

    status: int
    version: str | None
    location: str
    proven: bool
    counts: bool | None = None  # versions go 1, 2, 3

    @property
    def first(self) -> bool:
        """Whether the version itself says that nothing was there before."""
        return self.version == "1" and self.counts is not False


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """One way of searching. `finds` what is known to exist; `selective`: finds nothing for what nobody wrote.

    `supported` is False when the server refuses the parameter. `cached`: without `no-cache` it answers as before.
    """

    supported: bool
    selective: bool
    finds: bool | None = None
    cached: bool | None = None
    older: bool | None = None  # also by what only an older version holds

    @property
    def proven(self) -> bool:
        """Whether a hit and the lack of one both mean something."""
        return self.supported and self.selective and self.finds is True


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """How much of a request id of 16 characters, and of a longer one, `meta.source` keeps; 0: nothing of it."""

    of_sixteen: int
    of_longer: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Revival:
    """PUT on a deleted id. `guarded`: what If-Match on the deletion's version does; `version` is the new one."""

    status: int
    guarded: Guard


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """Tags and security labels that a PUT leaves out: `stick`, and whether the header of HAPI `drops` them."""

    stick: bool
    dropped_by_header: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientIds:
    """Statuses of a PUT to an id that nobody used."""

    letters: int
    digits: int


@dataclass(frozen=True, slots=True, kw_only=True)
class References:
    """Whether the server refuses a reference to nothing, and the deletion of what is referred to."""

    dangling_refused: bool
    delete_refused: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """All of them. `failed` names the probes that broke off, with a reason; `left` what could not be cleaned up."""

    software: str = ""
    version: str = ""
    source: Search | None = None
    tag: Search | None = None
    history: Search | None = None
    creation: Creation | None = None
    recorded: Recorded | None = None
    update: Guarded | None = None
    update_absent: Guarded | None = None
    unchanged: bool | None = None  # an unchanged PUT makes a version
    if_none_exist: bool | None = None
    client_ids: ClientIds | None = None
    delete_version_url: Guarded | None = None
    delete_if_match: Guarded | None = None
    deleted_reads_as: int | None = None
    revival: Revival | None = None
    labels: Labels | None = None
    references: References | None = None
    expunge: bool | None = None
    failed: tuple[tuple[str, str], ...] = ()
    left: tuple[str, ...] = ()

    @property
    def wrote(self) -> bool:
        """Whether the probes that write were run."""
        return self.creation is not None
