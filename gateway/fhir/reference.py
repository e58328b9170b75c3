"""What a `Reference.reference` names (http://hl7.org/fhir/R4/references.html#literal)."""

import re
from dataclasses import dataclass
from typing import Literal

Form = Literal["contained", "conditional", "versioned", "urn", "foreign", "malformed"]

_LITERAL = re.compile(r"([A-Z][A-Za-z]{1,63})/([A-Za-z0-9\-.]{1,64})")
_DOTS = frozenset({".", ".."})
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:")


@dataclass(frozen=True, slots=True, kw_only=True)
class LiteralReference:
    """One resource on this server, by type and id."""

    type: str
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UnresolvableReference:
    """A reference that does not name one resource on this server. `why` is for people, without payload."""

    form: Form
    why: str


def classify(text: str, bases: tuple[str, ...]) -> LiteralReference | UnresolvableReference:
    """The resource that a reference names: `Type/id`, alone or after exactly one of `bases` and a slash.

    `bases` are compared as they are: no other port, case, trailing slash or escape is taken for the same.
    """
    relative = text
    for base in bases:
        if text.startswith(base + "/"):
            relative = text[len(base) + 1 :]
            break
    literal = _LITERAL.fullmatch(relative)
    if literal is not None and literal[2] not in _DOTS:
        return LiteralReference(type=literal[1], id=literal[2])
    return _unresolvable(text)


def _unresolvable(text: str) -> UnresolvableReference:
    if text.startswith("#"):
        return UnresolvableReference(form="contained", why="it names a contained resource")
    if text.startswith("urn:"):
        return UnresolvableReference(form="urn", why="it is a urn, which names nothing on this server")
    if "?" in text:
        return UnresolvableReference(form="conditional", why="it is a search, whose result can change")
    if "/_history/" in text:
        return UnresolvableReference(form="versioned", why="it names a version, which servers drop")
    if _ABSOLUTE.match(text):
        return UnresolvableReference(form="foreign", why="it names a resource of another server")
    return UnresolvableReference(form="malformed", why="it is not of the form Type/id")
