"""Finite code lists of value sets, where the published files list every code."""

from collections.abc import Iterable, Iterator

from gateway.definitions.sources import CodeSystem, Concept, Include, ValueSet


class Unlisted(Exception):
    """The value set draws on codes that are not listed (a grammar such as BCP 47, or a filter)."""


def expand(value_sets: list[ValueSet], code_systems: list[CodeSystem]) -> dict[str, list[str]]:
    """Per value set URL its sorted codes; value sets that cannot be listed are left out."""
    sets = {value_set.url: value_set for value_set in value_sets}
    systems = {system.url: system for system in code_systems if system.content == "complete"}
    listed: dict[str, list[str]] = {}
    for url in sorted(sets):
        try:
            listed[url] = sorted(_codes(url, sets, systems))
        except Unlisted:
            continue
    return listed


def _codes(url: str, sets: dict[str, ValueSet], systems: dict[str, CodeSystem]) -> set[str]:
    value_set = sets.get(url.split("|", 1)[0])
    if value_set is None or value_set.compose is None:
        raise Unlisted(url)
    included = {code for part in value_set.compose.include for code in _part(part, sets, systems)}
    excluded = {code for part in value_set.compose.exclude for code in _part(part, sets, systems)}
    return included - excluded


def _part(part: Include, sets: dict[str, ValueSet], systems: dict[str, CodeSystem]) -> set[str]:
    if part.filter:
        raise Unlisted(part.system)
    drawn = [_codes(url, sets, systems) for url in part.value_set]
    if part.concept:
        drawn.append(set(_flat(part.concept)))
    elif part.system is not None:
        if part.system not in systems:
            raise Unlisted(part.system)
        drawn.append(set(_flat(systems[part.system].concept)))
    return set.intersection(*drawn)


def _flat(concepts: Iterable[Concept]) -> Iterator[str]:
    for concept in concepts:
        yield concept.code
        yield from _flat(concept.concept)
