"""What each function needs of its input and arguments, and what it gives: the language's signatures, as types.

https://hl7.org/fhirpath/N1/#functions, http://hl7.org/fhir/R4/fhirpath.html#functions
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final


class Size(Enum):
    """How many items a function gives."""

    ONE = "exactly one"
    OPTIONAL = "one or none"
    LESS = "some of the items of its input"
    SAME = "as many as its input"
    MANY = "any number"


@dataclass(frozen=True, slots=True, kw_only=True)
class Typed:
    """The types of one function.

    `result`: the name of a type; the empty text for that of the input, None for what cannot be known. `needs`: the
    families of values that it can be asked of; empty for any. `single`: several items are an error. `arguments`:
    the families that each argument may have.
    """

    result: str | None = None
    size: Size = Size.OPTIONAL
    needs: frozenset[str] = frozenset()
    single: bool = False
    arguments: tuple[frozenset[str], ...] = ()


# Functions whose arguments are asked of each item of the input as `$this`.
PER_ITEM: Final = frozenset({"where", "select", "all", "exists", "repeat", "repeatAll", "aggregate", "sort"})
# Functions whose arguments are asked of the whole input as `$this`.
ON_INPUT: Final = frozenset({"iif", "defineVariable", "trace"})
CRITERIA: Final = frozenset({"where", "all", "exists"})
TYPE_ARGUMENT: Final = frozenset({"is", "as", "ofType"})
# Functions that give something for every single input, where their arguments are there.
TOTAL: Final = frozenset(
    {
        *("first", "last", "single", "not", "toString", "length", "upper", "lower", "trim", "startsWith", "endsWith"),
        *("contains", "matches", "matchesFull", "replace", "replaceMatches", "indexOf", "lastIndexOf", "abs"),
        *("ceiling", "floor", "truncate", "round"),
    }
)
# Functions that pick items by their place (https://hl7.org/fhirpath/N1/#children-collection has none).
BY_PLACE: Final = frozenset({"first", "last", "tail", "skip", "take"})

_BOOLEAN, _STRING, _INTEGER = "System.Boolean", "System.String", "System.Integer"
_TEXTS: Final = frozenset({"string", "date or time"})
_TEXT: Final = frozenset({"string"})
_NUMBER: Final = frozenset({"number"})
_MEASURE: Final = frozenset({"number", "quantity"})
_MOMENT: Final = frozenset({"date or time", "string"})
_VALUE: Final = frozenset({"boolean", "number", "string", "date or time", "quantity"})
_EXACT: Final = frozenset({"number", "date or time", "quantity", "string"})


def _text(result: str, *arguments: frozenset[str], size: Size = Size.OPTIONAL) -> Typed:
    return Typed(result=result, size=size, needs=_TEXTS, single=True, arguments=arguments)


_CONVERSIONS: Final = ("Boolean", "Integer", "Long", "Decimal", "String", "Date", "DateTime", "Time", "Quantity")
_ALL_BOOLEANS: Final = Typed(result=_BOOLEAN, size=Size.ONE, needs=frozenset({"boolean"}))
_SOME: Final = Typed(result="", size=Size.LESS)
_MATH: Final = Typed(result="System.Decimal", needs=_NUMBER, single=True)

FUNCTIONS: Final[dict[str, Typed]] = {
    **dict.fromkeys(
        ("exists", "empty", "all", "isDistinct", "subsetOf", "supersetOf"), Typed(result=_BOOLEAN, size=Size.ONE)
    ),
    **dict.fromkeys(("allTrue", "anyTrue", "allFalse", "anyFalse"), _ALL_BOOLEANS),
    "not": Typed(result=_BOOLEAN, needs=frozenset({"boolean"}), single=True),
    "count": Typed(result=_INTEGER, size=Size.ONE),
    **dict.fromkeys(("where", "tail", "distinct", "exclude", "intersect"), _SOME),
    **dict.fromkeys(("skip", "take"), Typed(result="", size=Size.LESS, arguments=(_NUMBER,))),
    **dict.fromkeys(("first", "last"), Typed(result="")),
    "single": Typed(result="", single=True),
    "trace": Typed(result="", size=Size.SAME, arguments=(_TEXT,)),
    "sort": Typed(result="", size=Size.SAME),
    "defineVariable": Typed(result="", size=Size.SAME, arguments=(_TEXT,)),
    **{f"convertsTo{name}": Typed(result=_BOOLEAN, single=True) for name in _CONVERSIONS},
    **{f"to{name}": Typed(result=f"System.{name}", single=True) for name in _CONVERSIONS},
    **dict.fromkeys(("startsWith", "endsWith", "contains", "matches", "matchesFull"), _text(_BOOLEAN, _TEXT)),
    **dict.fromkeys(("indexOf", "lastIndexOf"), _text(_INTEGER, _TEXT)),
    "length": _text(_INTEGER),
    **dict.fromkeys(("upper", "lower", "trim"), _text(_STRING)),
    **dict.fromkeys(("replace", "replaceMatches"), _text(_STRING, _TEXT, _TEXT)),
    "substring": _text(_STRING, _NUMBER, _NUMBER),
    **dict.fromkeys(("encode", "decode", "escape", "unescape"), _text(_STRING, _TEXT)),
    "split": _text(_STRING, _TEXT, size=Size.MANY),
    "toChars": _text(_STRING, size=Size.MANY),
    "join": Typed(result=_STRING, needs=_TEXTS, arguments=(_TEXT,)),
    "abs": Typed(result="", needs=_MEASURE, single=True),
    **dict.fromkeys(("ceiling", "floor", "truncate"), Typed(result=_INTEGER, needs=_MEASURE, single=True)),
    "round": Typed(result="System.Decimal", needs=_MEASURE, single=True, arguments=(_NUMBER,)),
    **dict.fromkeys(("exp", "ln", "sqrt"), _MATH),
    **dict.fromkeys(("log", "power"), Typed(result="System.Decimal", needs=_NUMBER, single=True, arguments=(_NUMBER,))),
    **dict.fromkeys(("sum", "avg"), Typed(needs=_MEASURE)),
    **dict.fromkeys(("min", "max"), Typed(result="", needs=_VALUE)),
    **dict.fromkeys(("lowBoundary", "highBoundary"), Typed(result="", needs=_EXACT, single=True, arguments=(_NUMBER,))),
    "precision": Typed(result=_INTEGER, needs=_EXACT, single=True),
    "comparable": Typed(result=_BOOLEAN, needs=_MEASURE, single=True, arguments=(_MEASURE,)),
    **dict.fromkeys(
        ("duration", "difference"), Typed(result=_INTEGER, needs=_MOMENT, single=True, arguments=(_MOMENT, _TEXT))
    ),
    **{
        f"{part}Of": Typed(result=_INTEGER, needs=_MOMENT, single=True)
        for part in ("year", "month", "day", "hour", "minute", "second", "millisecond")
    },
    "timezoneOffsetOf": Typed(result="System.Decimal", needs=_MOMENT, single=True),
    "dateOf": Typed(result="System.Date", needs=_MOMENT, single=True),
    "timeOf": Typed(result="System.Time", needs=_MOMENT, single=True),
    "now": Typed(result="System.DateTime", size=Size.ONE),
    "today": Typed(result="System.Date", size=Size.ONE),
    "timeOfDay": Typed(result="System.Time", size=Size.ONE),
    "extension": Typed(result="Extension", size=Size.MANY, arguments=(_TEXT,)),
    "hasValue": Typed(result=_BOOLEAN, size=Size.ONE),
    "memberOf": Typed(result=_BOOLEAN, single=True, arguments=(_TEXT,)),
    "htmlChecks": Typed(result=_BOOLEAN, needs=_TEXTS),
    "conformsTo": Typed(result=_BOOLEAN, single=True, arguments=(_TEXT,)),
}
