"""The FHIRPath of HL7's own definitions: every constraint and every search parameter of R4, R4B and R5.

They come from the Maven artifacts that `make model` reads, by the ordinary client, and are kept in the cache folder
as one small JSON file per release; a second run needs no network.
"""

import functools
import io
import json
import os
import re
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as ET
from zipfile import ZipFile

from pydantic import BaseModel, Field

from gateway.definitions.package import Package
from gateway.definitions.sources import NAMESPACE, Definition, SearchParameter
from gateway.fhir.json import JsonObject
from tests.fhirpath import fhir_xml
from tests.fhirpath.fetch_suite import cache_root

VERSION = "8.8.0"
_FORMAT = 1  # of the files in the cache
_EVERY = 40  # of the published definitions one is taken
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


def published(release: str) -> tuple[JsonObject, ...]:
    """Some of the definitions themselves, as resources that HL7 published: every so many of each file."""
    target = cache_root() / "definitions" / f"{release.lower()}-{VERSION}-sample-{_FORMAT}.json"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with ZipFile(_jar(release)) as jar:
            found = list(_packed(jar) if release == "R5" else _bundled(jar, release))
        target.write_text(json.dumps(found), "utf-8")
    return tuple(json.loads(target.read_text("utf-8")))


def _bundled(jar: ZipFile, release: str) -> Iterator[JsonObject]:
    for file in ("profile/profiles-types.xml", "profile/profiles-resources.xml", "valueset/valuesets.xml"):
        bundle = ET.fromstring(jar.read(f"org/hl7/fhir/{release.lower()}/model/{file}"))
        for resource in list(bundle.iterfind(f"{NAMESPACE}entry/{NAMESPACE}resource/*"))[::_EVERY]:
            yield fhir_xml.read(ET.tostring(resource), release)


def _packed(jar: ZipFile) -> Iterator[JsonObject]:
    with tarfile.open(fileobj=io.BytesIO(jar.read(f"org/hl7/fhir/r5/packages/{_PACKAGES[0]}"))) as archive:
        # The archive is read once, from its beginning to its end: to go back in it would mean to begin again.
        files = (each for each in archive if re.fullmatch(r"package/[A-Z][A-Za-z]+-[^/]+\.json", each.name))
        for at, member in enumerate(files):
            content = archive.extractfile(member) if at % _EVERY == 0 else None
            if content is not None:
                yield json.load(content)


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
