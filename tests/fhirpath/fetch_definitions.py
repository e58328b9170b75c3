"""The FHIRPath of HL7's own definitions: every constraint and every search parameter of R4, R4B and R5.

They come from the Maven artifacts that `make model` reads, by the ordinary client, and are kept in the cache folder
as one small JSON file per release; a second run needs no network.
"""

import functools
import os
import subprocess
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, Field

from gateway.definitions.package import Package
from gateway.definitions.sources import Definition, SearchParameter
from tests.fhirpath.fetch_suite import cache_root

VERSION = "8.8.0"
_FORMAT = 1  # of the files in the cache
_PROFILES = (
    *("profile/profiles-types.xml", "profile/profiles-resources.xml", "profile/profiles-others.xml"),
    "extension/extension-definitions.xml",
)
_PACKAGES = ("hl7.fhir.r5.core-5.0.0.tgz", "hl7.fhir.uv.extensions.r5-1.0.0.tgz")
_SEARCH = {"R4": "sp/search-parameters.json", "R4B": "sp/search-parameters.xml", "R5": _PACKAGES[0]}


class Constraint(Definition):
    """`ElementDefinition.constraint`."""

    key: str
    severity: str
    expression: str = ""


class Element(Definition):
    """`StructureDefinition.snapshot.element`."""

    path: str
    constraint: tuple[Constraint, ...] = ()


class Elements(Definition):
    """`StructureDefinition.snapshot`."""

    element: tuple[Element, ...] = ()


class StructureDefinition(Definition):
    """Any structure: types, resources, profiles, extensions."""

    url: str
    kind: str = ""
    derivation: str | None = None
    snapshot: Elements = Field(default=Elements())
    differential: Elements = Field(default=Elements())


class Rule(NamedTuple):
    """One constraint at a path. `is_base`: it is of FHIR itself, and not of a profile or an extension."""

    path: str
    key: str
    severity: str
    expression: str
    is_base: bool


class Search(NamedTuple):
    """The expression of one search parameter, for each type that it is for."""

    code: str
    bases: tuple[str, ...]
    expression: str


class Expressions(BaseModel):
    """What is kept of a release."""

    rules: tuple[Rule, ...]
    searches: tuple[Search, ...]


def rules(release: str) -> tuple[Rule, ...]:
    """Every constraint of a release, each once for every path that has it."""
    return _kept(release).rules


def searches(release: str) -> tuple[Search, ...]:
    """Every search parameter of a release that has an expression."""
    return _kept(release).searches


@functools.cache
def _kept(release: str) -> Expressions:
    target = cache_root() / "definitions" / f"{release.lower()}-{VERSION}-fhirpath-{_FORMAT}.json"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(_extract(release).model_dump_json(), "utf-8")
    return Expressions.model_validate_json(target.read_text("utf-8"))


def _extract(release: str) -> Expressions:
    found: dict[Rule, None] = {}
    with Package(_jar(release), release) as package:
        for file in _PACKAGES if release == "R5" else _PROFILES:
            for structure in package.read(file, StructureDefinition):
                is_base = structure.derivation != "constraint" and structure.kind != "logical"
                for element in (*structure.snapshot.element, *structure.differential.element):
                    for each in element.constraint:
                        if each.expression:
                            found[Rule(element.path, each.key, each.severity, each.expression, is_base)] = None
        parameters = package.read(_SEARCH[release], SearchParameter)
    found_searches = tuple(Search(each.code, each.base, each.expression) for each in parameters if each.expression)
    return Expressions(rules=tuple(found), searches=found_searches)


def _jar(release: str) -> Path:
    name = f"hapi-fhir-validation-resources-{release.lower()}"
    kept = cache_root() / "definitions" / f"{name}-{VERSION}.jar"
    if kept.exists():
        return kept
    repository = Path(os.environ.get("MAVEN_REPOSITORY", Path.home() / ".m2" / "repository"))
    jar = repository / "ca/uhn/hapi/fhir" / name / VERSION / f"{name}-{VERSION}.jar"
    if not jar.exists():
        artifact = f"ca.uhn.hapi.fhir:{name}:{VERSION}"
        subprocess.run(
            ["mvn", "-q", "-B", "dependency:get", f"-Dartifact={artifact}", "-Dtransitive=false"], check=True
        )
    return jar
