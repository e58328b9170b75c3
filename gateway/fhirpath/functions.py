"""Every function that may be called, with the number of its arguments."""

from typing import Final

from gateway.fhirpath import collecting, filtering
from gateway.fhirpath.collecting import simple, with_collection
from gateway.fhirpath.evaluation import Function
from gateway.fhirpath.numbers import NUMBER_FUNCTIONS
from gateway.fhirpath.operators import distinct, union
from gateway.fhirpath.texts import TEXT_FUNCTIONS

MANY: Final = 20

# name: (fewest arguments, most arguments, function)
ARITIES: Final[dict[str, tuple[int, int, Function]]] = {
    **TEXT_FUNCTIONS,
    **NUMBER_FUNCTIONS,
    "where": (1, 1, filtering.where),
    "select": (1, 1, filtering.select),
    "all": (1, 1, filtering.all_),
    "exists": (0, 1, filtering.exists),
    "repeat": (1, 1, filtering.repeat),
    "aggregate": (1, 2, filtering.aggregate),
    "iif": (2, 3, filtering.iif),
    "trace": (1, 2, filtering.trace),
    "empty": (0, 0, simple(lambda focus: [not focus])),
    "not": (0, 0, simple(collecting.not_)),
    "count": (0, 0, simple(lambda focus: [len(focus)])),
    "first": (0, 0, simple(lambda focus: focus[:1])),
    "last": (0, 0, simple(lambda focus: focus[-1:])),
    "tail": (0, 0, simple(lambda focus: focus[1:])),
    "single": (0, 0, simple(collecting.single)),
    "take": (1, 1, collecting.take),
    "skip": (1, 1, collecting.skip),
    "distinct": (0, 0, simple(distinct)),
    "isDistinct": (0, 0, simple(lambda focus: [len(distinct(focus)) == len(focus)])),
    "allTrue": (0, 0, simple(collecting.booleans(every=True, wanted=True))),
    "anyTrue": (0, 0, simple(collecting.booleans(every=False, wanted=True))),
    "allFalse": (0, 0, simple(collecting.booleans(every=True, wanted=False))),
    "anyFalse": (0, 0, simple(collecting.booleans(every=False, wanted=False))),
    "subsetOf": (1, 1, with_collection(collecting.subset_of)),
    "supersetOf": (1, 1, with_collection(collecting.superset_of)),
    "intersect": (1, 1, with_collection(collecting.intersect)),
    "exclude": (1, 1, with_collection(collecting.exclude)),
    "union": (1, 1, with_collection(union)),
    "combine": (1, 1, with_collection(lambda focus, other: [*focus, *other])),
    "coalesce": (1, MANY, collecting.coalesce),
    "children": (0, 0, collecting.children),
    "descendants": (0, 0, collecting.descendants),
    "extension": (1, 1, collecting.extension),
    "hasValue": (0, 0, simple(collecting.has_value)),
    "getValue": (0, 0, simple(collecting.get_value)),
    "resolve": (0, 0, collecting.resolve),
    "ofType": (1, 1, collecting.of_type),
    "is": (1, 1, collecting.type_function("is")),
    "as": (1, 1, collecting.type_function("as")),
    "type": (0, 0, collecting.type_),
}

FUNCTIONS: Final[dict[str, Function]] = {name: function for name, (_, _, function) in ARITIES.items()}

# Arguments that are evaluated for each item of the input, and those that name a type.
CRITERIA: Final = frozenset({"where", "all", "exists"})
PER_ITEM: Final = CRITERIA | {"select", "repeat", "aggregate"}
TYPE_ARGUMENT: Final = frozenset({"ofType", "is", "as"})
