"""SMART App Launch scopes: their grammar and what one of them covers. Pure vocabulary, no tokens.

Grammar of https://hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html:
`(patient|user|system)/(ResourceType|*).permissions[?param=value[&param=value]]`, where permissions are a non-empty,
in-order subset of `cruds`, or one of SMART v1's words `read`, `write`, `*`. What is not exactly of this form is no
SMART scope and grants nothing: a scope is never widened by guessing what was meant.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

ANY_TYPE = "*"

# RFC 6749 section 3.3: scope-token = 1*( %x21 / %x23-5B / %x5D-7E ).
_SCOPE = re.compile(
    r"(?P<context>patient|user|system)"
    r"/(?P<type>\*|[A-Z][A-Za-z]{0,63})"
    r"\.(?:(?P<v1>read|write|\*)|(?P<letters>[cruds]{1,5})(?:\?(?P<query>[\x21\x23-\x5b\x5d-\x7e]{1,2000}))?)"
)
_V1_LETTERS = {"read": "rs", "write": "cud", "*": "cruds"}
# Modifiers (`:`), chains (`.`), `_has` and `_filter` are experimental in SMART: refused, not ignored. Of the parameters
# that begin with `_`, only those that select by the content of one resource can bound a write.
_PARAMETER = re.compile(r"([a-z][A-Za-z0-9-]{0,63}|_id|_lastUpdated|_language|_profile|_security|_source|_tag)=(.+)")
_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


class ScopeContext(StrEnum):
    """Whose data the scope speaks of: the patient in context, what the user may see, or everything."""

    PATIENT = "patient"
    USER = "user"
    SYSTEM = "system"


@dataclass(frozen=True, slots=True, kw_only=True)
class SmartScope:
    """One scope. `type` is a resource type or `*`; `letters` is a subset of `cruds`; `query` has no `?`."""

    context: ScopeContext
    type: str
    letters: str
    query: str = ""

    def covers(self, letter: str, type: str) -> bool:  # noqa: A002 (FHIR's word for it)
        """Whether the permission (one letter of `cruds`) on `type` is inside this scope, its query aside.

        `type` may be `*` (all types at once, as for a search of the whole system): only a `*` scope covers that.
        """
        return len(letter) == 1 and letter in self.letters and self.type in (ANY_TYPE, type)


def parse(text: str) -> SmartScope | None:
    """The scope that `text` spells, or None when it is not exactly a SMART scope (`openid`, `launch`, a typo)."""
    found = _SCOPE.fullmatch(text)
    if found is None:
        return None
    letters = _V1_LETTERS[found["v1"]] if found["v1"] else found["letters"]
    query = found["query"] or ""
    # `dus` or `rr` is not in order: SMART lets a server reject it, and to read it kindly would be a guess.
    if letters != "".join(letter for letter in "cruds" if letter in letters):
        return None
    if query and not _is_plain(query):
        return None
    return SmartScope(context=ScopeContext(found["context"]), type=found["type"], letters=letters, query=query)


def parse_all(texts: tuple[str, ...]) -> tuple[SmartScope, ...]:
    """The SMART scopes among `texts`, each once, in order; the others grant nothing and are left out."""
    return tuple(dict.fromkeys(scope for scope in map(parse, texts) if scope is not None))


def _is_plain(query: str) -> bool:
    """Whether every part is `name=value` with a plain search parameter, so that it can be judged on one resource."""
    if _PERCENT.search(query) or "?" in query:
        return False
    return all(_PARAMETER.fullmatch(part) for part in query.split("&"))
