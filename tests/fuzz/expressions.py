"""FHIRPath expressions and JSON resources from bytes, as hostile as the grammar allows."""

from tests.fuzz.draw import Draw

_LEAVES = (
    *("name", "given", "value", "birthDate", "active", "contact", "deceased", "contained", "extension", "$this"),
    *("%resource", "%patient", "$index", "$total", "1", "0", "2147483647", "1.5", "-1", "0.00000001"),
    *("9223372036854775807L",),
    *("'a'", "''", "'1.5'", "'2020-01-01'", "'(a+)+'", "'\\u0130ß'"),
    *("true", "false", "{}", "@2020"),
    *("@T10:00", "5 'mg'", "1 'kg.m/s2'", "2 days", "1 year", "0 'cm'", "descendants()"),
    *("now()", "@2020-02-29T23:59:60Z",),
)  # fmt: skip
_OPERATORS = (
    *("and", "or", "xor", "implies", "=", "!=", "~", "!~", "<", "<=", ">", ">=", "+", "-", "*", "/", "div", "mod", "&"),
    *("|", "in", "contains"),
)
_BARE = (
    *("first", "last", "tail", "single", "count", "not", "empty", "exists", "distinct", "isDistinct", "children"),
    *("descendants", "toString", "toInteger", "toDecimal", "toDate", "toDateTime", "toTime", "toQuantity", "toBoolean"),
    *(
        "toLong",
        "convertsToQuantity",
        "hasValue",
        "getValue",
        "upper",
        "lower",
        "length",
        "trim",
        "toChars",
        "sum",
        "min",
    ),
    *("max", "avg", "abs", "ceiling", "floor", "round", "exp", "ln", "sqrt", "truncate", "resolve", "type", "sort"),
    *("lowBoundary", "highBoundary", "precision", "htmlChecks", "allTrue", "anyFalse", "join", "yearOf", "secondOf"),
    *("timezoneOffsetOf", "dateOf", "timeOf"),
)
_ONE = (
    *("where", "select", "all", "exists", "repeat", "repeatAll", "aggregate", "sort", "union", "combine", "intersect"),
    *("exclude", "subsetOf", "supersetOf", "skip", "take", "startsWith", "endsWith", "contains", "indexOf", "matches"),
    *("matchesFull", "split", "join", "substring", "encode", "decode", "escape", "unescape", "power", "log", "round"),
    *("extension", "memberOf", "conformsTo", "comparable", "toQuantity", "lowBoundary", "highBoundary", "coalesce"),
    *("trace", "lastIndexOf"),
)
_TWO = ("replace", "replaceMatches", "iif", "aggregate", "substring", "coalesce", "sort", "defineVariable", "matches")
_TYPES = ("string", "Quantity", "FHIR.Patient", "System.Integer", "HumanName", "Resource", "date")
_NAMES = (
    *("name", "given", "family", "value", "valueQuantity", "valueString", "birthDate"),
    *("_birthDate", "active"),
    *("contact", "contained", "extension", "url", "resourceType", "id", "reference", "code"),
    *("unit", "system", "period", "x",),
)  # fmt: skip


def expression(draw: Draw, depth: int = 4) -> str:  # noqa: PLR0911 (one for each form)
    """One text that is almost always an expression."""
    kind = draw.number(9) if depth else 0
    if kind == 1:
        return f"({expression(draw, depth - 1)} {draw.one(_OPERATORS)} {expression(draw, depth - 1)})"
    if kind in (2, 3):
        return f"{expression(draw, depth - 1)}.{draw.one(_BARE)}()"
    if kind in (4, 5):
        return f"{expression(draw, depth - 1)}.{draw.one(_ONE)}({expression(draw, depth - 1)})"
    if kind == 6:
        inner = [expression(draw, depth - 1) for _ in range(3)]
        return f"{inner[0]}.{draw.one(_TWO)}({inner[1]}, {inner[2]})"
    if kind == 7:
        return f"{expression(draw, depth - 1)}[{expression(draw, depth - 1)}]"
    if kind == 8:
        return f"({expression(draw, depth - 1)} {draw.one(('is', 'as'))} {draw.one(_TYPES)})"
    return draw.one(_LEAVES)


def json_value(draw: Draw, depth: int = 4) -> object:
    """A JSON value, FHIR or not."""
    kind = draw.number(10) if depth else draw.number(8)
    if kind == 8:
        return [json_value(draw, depth - 1) for _ in range(draw.number(5))]
    if kind == 9:
        return {draw.one(_NAMES): json_value(draw, depth - 1) for _ in range(draw.number(6))}
    scalars = (None, True, False, draw.number(256), 1e300, 0.1, "a", "2020-01-01T10:00:00+14:00")
    return scalars[kind]


def resource(draw: Draw) -> dict[str, object]:
    """A JSON object that says it is a resource."""
    found: dict[str, object] = {draw.one(_NAMES): json_value(draw) for _ in range(1 + draw.number(6))}
    return {**found, "resourceType": draw.one(("Patient", "Observation", "Bundle", "Nothing"))}
