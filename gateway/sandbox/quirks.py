"""What real FHIR servers do differently, as switches; the default is the honest server of the specification."""

from dataclasses import asdict, dataclass, fields, replace
from typing import Literal, Self

from gateway.fhir.json import Json


class UnknownQuirk(Exception):
    """No such switch, or a value of the wrong type."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quirks:
    """One server's habits. Times are in seconds; an empty text or 0 switches a quirk off.

    The fault switches (`error_though_stored`, `drop_answer_after_store`, `apply_late`, `answer_late`) strike every
    write, or only the next `strikes` ones when that is 0 or more. `read_late` strikes reads of `read_late_of`, a type.
    """

    # versions and guards
    if_match_ignored_on_delete: bool = False
    if_match_ignored_on_update: bool = False
    if_match_ignored_when_absent: bool = False
    stale_if_match_status: int = 412
    versioned_delete: bool = True
    same_content_makes_version: bool = False
    version_ids: Literal["number", "skipping", "uuid"] = "number"
    delete_forbidden: bool = False
    delete_answers_without_body: bool = False
    location_unversioned: bool = False
    id_of_client_refused: bool = False
    if_none_exist_ignored: bool = False
    references_unchecked: bool = False
    expunge: bool = False
    # finding a write
    request_id_length: int = 16
    source_disabled: bool = False
    tag_disabled: bool = False  # `_tag` is an unknown parameter
    search_cached_seconds: float = 0
    unknown_parameter: Literal["refuse", "everything", "nothing"] = "refuse"
    # content
    tags_merged: bool = False
    drops_element: str = ""
    moves_subject_to: str = ""
    moves_when_tagged: str = "move"
    # faults
    error_though_stored: bool = False
    drop_answer_after_store: bool = False
    apply_late: float = 0
    answer_late: float = 0
    strikes: int = -1
    read_late: float = 0
    read_late_of: str = ""

    @property
    def faulty(self) -> bool:
        """Whether any switch makes the next write go wrong."""
        return bool(self.error_though_stored or self.drop_answer_after_store or self.apply_late or self.answer_late)

    @classmethod
    def hapi(cls) -> Self:
        """HAPI FHIR JPA 8.8 as it answers on the wire, the points that matter for undoing a write."""
        return cls(
            if_match_ignored_on_delete=True,
            if_match_ignored_when_absent=True,
            stale_if_match_status=409,
            search_cached_seconds=60,
            tags_merged=True,
        )

    def changed(self, switches: Json) -> Self:
        """These quirks with some switches set. Raises UnknownQuirk."""
        if not isinstance(switches, dict):
            raise UnknownQuirk("the switches are one JSON object")
        known = {field.name: getattr(self, field.name) for field in fields(self)}
        for name, value in switches.items():
            if name not in known:
                raise UnknownQuirk(f"no quirk is named {name}")
            before = known[name]
            numbers = isinstance(value, int | float) and not isinstance(value, bool)
            fits = numbers if type(before) in {int, float} else type(value) is type(before)
            if not fits:
                raise UnknownQuirk(f"{name} takes a {type(before).__name__}")
        return replace(self, **switches)  # type: ignore[arg-type] # checked above, switch by switch

    def as_json(self) -> dict[str, Json]:
        """Every switch with its value."""
        return asdict(self)
