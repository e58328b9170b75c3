"""Short reasons for evaluations that failed, free of payload values.

Engine texts may quote what they stumbled over (`Integer value '…'`, a missing key that came out of the payload), so
none of them is passed on: each is mapped to a class, and names only what the author wrote in the policy.
"""

import re
from collections.abc import Set as AbstractSet

_KEY = re.compile(r'(?:Key not found in map : |no_such_field : )"?([A-Za-z_]\w*)"?')
_NAME = re.compile(r"""(?:No value with name|undeclared reference to) ["']([a-z]+)["']""")
_CALL = re.compile(r"No matching overloads found : (?:\([^)]*\)\.)?([A-Za-z_]\w*)\(")
_CLASSES = (
    ("Index error", "index out of bounds"),
    ("No matching overloads", "a value has the wrong type"),
    ("no such overload", "a value has the wrong type"),
    ("divide by zero", "division by zero"),
    ("modulus by zero", "division by zero"),
    ("overflow", "a number is out of range"),
    ("out of range", "a number is out of range"),
    ("Timestamp", "not a full timestamp with time zone"),
    ("Duration", "not a duration"),
    ("cannot convert", "a value cannot be converted"),
    ("regular expression", "invalid regular expression"),
    ("non-message", "an element is read from something that has none"),
    ("optional", "an optional value is absent"),
)
BUDGET = "the expression needs too many steps"


def reason(text: str, written: AbstractSet[str]) -> str:
    """Maps an engine's error text. `written` holds the element names and keys that stand in the expression."""
    if (found := _KEY.search(text)) and found[1] in written:
        return f"no such key '{found[1]}'"
    if "not found in map" in text or "no_such_field" in text:
        return "no such key"
    if found := _NAME.search(text):
        return f"'{found[1]}' has no value here"
    if (found := _CALL.search(text)) and found[1] in written:
        return f"a value has the wrong type for {found[1]}()"
    return next((short for part, short in _CLASSES if part in text), "evaluation failed")
