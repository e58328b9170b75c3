"""The JSON alias of the whole code base: what a parsed payload is made of."""

from typing import TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
# No text, so that `JsonObject | None` can be evaluated where a dataclass is made.
JsonObject: TypeAlias = dict[str, "Json"]
