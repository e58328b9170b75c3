"""Which tokens a policy is about: `clients.scopes` and `clients.claims`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from gateway.fhir.interaction import InteractionCode
from gateway.fhir.smart_scope import SmartScope, parse
from gateway.policy.facts import ClientFacts

# http://hl7.org/fhir/smart-app-launch/scopes-and-launch-context.html: update-as-create needs `u`, not `c`.
_LETTERS = {InteractionCode.CREATE: "c", InteractionCode.UPDATE: "u"}

_parse = lru_cache(maxsize=4096)(parse)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientTerms:
    """The terms of one policy. Both empty: any authenticated client.

    `scopes`: the policy applies when the token carries at least one of those listed that are about this type and
    interaction. `claims`: every claim listed must have the value, or one of the values.
    """

    scopes: tuple[str, ...] = ()
    claims: Mapping[str, object] = field(default_factory=dict)

    def met_by(self, client: ClientFacts, claims: Mapping[str, object], code: InteractionCode, type_: str) -> bool:
        """Whether the policy is about this client's write."""
        return all(name in claims and _has(claims[name], wanted) for name, wanted in self.claims.items()) and (
            not self.scopes or carries_one_of(client.scopes, self.scopes, code, type_)
        )


@lru_cache(maxsize=4096)
def carries_one_of(carried: tuple[str, ...], listed: tuple[str, ...], code: InteractionCode, type_: str) -> bool:
    """Whether one listed scope is about such a write and the token carries it.

    A SMART scope is carried by any of the same context that covers it for this type and interaction
    (`system/*.cruds` carries `system/Observation.cu`); any other text only by itself.
    """
    letter = _LETTERS.get(code, "")
    for text in listed:
        wanted = _parse(text)
        if wanted is None:
            if text in carried:
                return True
        elif wanted.covers(letter, type_) and any(_carries(_parse(each), wanted, letter, type_) for each in carried):
            return True
    return False


def _carries(scope: SmartScope | None, wanted: SmartScope, letter: str, type_: str) -> bool:
    return (
        scope is not None
        and scope.context is wanted.context
        and scope.covers(letter, type_)
        # A listed scope with search parameters is carried by the same one, or by one without any.
        and (wanted.query == "" or scope.query in ("", wanted.query))
    )


def _has(value: object, wanted: object) -> bool:
    """Whether a claim has the wanted value; lists on either side mean "any of"."""
    if isinstance(wanted, list):
        return any(_has(value, each) for each in wanted)
    if isinstance(value, list):
        return any(_equal(each, wanted) for each in value)
    return _equal(value, wanted)


def _equal(left: object, right: object) -> bool:
    # In Python `True == 1`; in a token they are different claims.
    return isinstance(left, bool) is isinstance(right, bool) and left == right
