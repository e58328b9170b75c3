"""Expressions made from a resource: paths that lead somewhere in it, and what can be asked of what is there."""

from collections.abc import Iterator
from random import Random

from gateway.fhir.json import JsonObject
from gateway.fhirpath.model import Model

_LITERALS = ("1", "0", "2.5", "'a'", "''", "true", "false", "{}", "@2015-02-04", "@2012", "5 'mg'")
_COUNTED = ("exists()", "empty()", "count()", "first()", "last()", "tail()", "distinct()", "isDistinct()", "not()")
_TEXT = (
    *("length()", "upper()", "lower()", "toChars()", "trim()", "startsWith('{0}')", "endsWith('{0}')"),
    *("contains('{0}')", "indexOf('{0}')", "substring(1)", "substring(1, 2)", "replace('{0}', 'x')", "matches('{0}')"),
    *(
        "toInteger()",
        "toDecimal()",
        "toBoolean()",
        "convertsToInteger()",
        "convertsToDate()",
        "split('-')",
        "join(',')",
    ),
)
_NUMBER = ("abs()", "ceiling()", "floor()", "round(1)", "truncate()", "toString()", "sqrt()", "power(2)")
_COMPARE = ("=", "!=", "~", "!~", "<", "<=", ">", ">=")
_LOGIC = ("and", "or", "xor", "implies")
_SETS = ("|", "union", "combine", "intersect", "exclude", "subsetOf", "supersetOf")
_RESERVED = frozenset({"div", "mod", "and", "or", "xor", "implies", "in", "is", "as", "contains", "true", "false"})


class Generator:
    """Makes expressions for one resource from a seed."""

    def __init__(self, resource: JsonObject, model: Model, seed: int) -> None:
        self._random = Random(seed)
        self._model = model
        self.leaves = list(_leaves(resource, str(resource["resourceType"]), model, ""))

    def expression(self, depth: int = 2) -> str:
        """One expression."""
        random = self._random
        kind = random.randrange(9) if depth else random.randrange(3)
        if kind < 3:
            return self._asked()
        if kind == 3:
            return f"({self._boolean()}) {random.choice(_LOGIC)} ({self._boolean()})"
        left, right = self.expression(depth - 1), self.expression(depth - 1)
        if kind == 4:
            return f"({left}) {random.choice(_COMPARE)} ({right})"
        if kind == 5:
            word = random.choice(_SETS)
            # From the resource on: fhirpathpy would ask an argument of the input, and not of `$this`.
            return f"({left} | {right})" if word == "|" else f"({left}).{word}(%resource.{self._asked()})"
        if kind == 6:
            return f"iif(({left}).exists(), {right}, {self._asked()})"
        return self._filtered()

    def _boolean(self) -> str:
        random = self._random
        path, value, type_name = random.choice(self.leaves)
        if random.random() < 0.4:
            return f"{path} {random.choice(_COMPARE)} {self._literal(value, type_name)}"
        if random.random() < 0.1:
            return path
        return f"{path}.{random.choice(('exists()', 'empty()', 'exists().not()', 'isDistinct()'))}"

    def _asked(self) -> str:
        random = self._random
        path, value, type_name = random.choice(self.leaves)
        asked = [
            path,
            f"{path}.{random.choice(_COUNTED)}",
            f"{path} {random.choice(_COMPARE)} {self._literal(value, type_name)}",
            f"{path}.{random.choice(('skip', 'take'))}({random.randrange(3)})",
            f"{path}[{random.randrange(2)}]",
            f"{path}.{self._function(value)}",
        ]
        if "." not in type_name:  # a backbone element's path is the name of no type
            asked.append(random.choice((f"{path}.ofType({type_name})", f"{path}.first() is {type_name}")))
        return random.choice(asked)

    def _function(self, value: object) -> str:
        random = self._random
        if isinstance(value, str):
            part = value[: random.randrange(1, 4)]
            return random.choice(_TEXT).format(part if part.isalnum() else "a")
        if isinstance(value, int | float) and not isinstance(value, bool):
            return random.choice(_NUMBER)
        return random.choice(_COUNTED)

    def _filtered(self) -> str:
        """`a.where(b = literal).c`, `a.select(b)`, `a.all(b.exists())`."""
        random = self._random
        path, value, type_name = random.choice(self.leaves)
        base, _, name = path.rpartition(".")
        if not base:
            return f"{path}.select($this)"
        literal = self._literal(value, type_name)
        criterion = random.choice(
            (f"{name} = {literal}", f"{name}.exists()", name, f"{name} != {literal}", "$this.exists()")
        )
        word = random.choice(("where", "select", "all", "exists", "where"))
        return f"{base}.{word}({criterion})"

    def _literal(self, value: object, type_name: str) -> str:
        random = self._random
        if random.random() < 0.3:
            return random.choice(_LITERALS)
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, int | float):
            return str(abs(value))
        if isinstance(value, str) and type_name in ("date", "dateTime", "instant") and random.random() < 0.7:
            return f"@{value}"
        if isinstance(value, str) and value.isprintable() and "'" not in value and "\\" not in value:
            return f"'{value}'"
        return "'a'"


def _leaves(value: JsonObject, type_name: str, model: Model, path: str) -> Iterator[tuple[str, object, str]]:
    """Path, first value and type of every element that is there and that FHIRPath has a name for."""
    for key, child in value.items():
        choice = model.choice_of(type_name, key)
        name = key if choice is None else choice[0]
        member = model.member(type_name, name)
        if member is None or name in _RESERVED:
            continue
        kind = member.types[0] if choice is None else choice[1]
        here = f"{path}.{name}" if path else name
        first = child[0] if isinstance(child, list) and child else child
        yield here, first, kind
        if isinstance(first, dict) and kind in model.types and kind != "Resource":
            yield from _leaves(first, kind, model, here)
