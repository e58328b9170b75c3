"""This engine beside HAPI's own, in R4, R4B and R5, over generated expressions and published resources.

Each disagreement belongs to a group of tests/cases/fhirpath-differences.yaml, which settles it by the specification.
The program that speaks for HAPI is in tests/fhirpath/hapi: a library behind lines, no server.
"""

import functools
import json
import os
import subprocess
from decimal import Decimal
from pathlib import Path

import pytest

from gateway.fhirpath.model import load
from tests.fhirpath.differences import PUBLISHED, groups, is_settled, ours, path_of, resource, shown
from tests.fhirpath.generated import Generator

HERE = Path(__file__).parents[1] / "fhirpath" / "hapi"
EACH = 120  # expressions for each resource
pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def command() -> list[str]:
    """The program that speaks for HAPI, built once into the cache."""
    home = os.environ.get("CACHE")
    out = (Path(home) if home else Path.home() / ".cache" / "fhir-policy-gateway") / "fhirpath-hapi"
    classpath = out / "classpath"
    newest = max(path.stat().st_mtime for path in HERE.rglob("*") if path.is_file())
    if not classpath.exists() or classpath.stat().st_mtime < newest:
        out.mkdir(parents=True, exist_ok=True)
        goals = ("compile", "dependency:build-classpath", f"-Dmdep.outputFile={classpath}.new")
        subprocess.run(["mvn", "-q", "-B", "-f", str(HERE / "pom.xml"), f"-Dout={out}", *goals], check=True)
        Path(f"{classpath}.new").replace(classpath)
    jars = f"{out / 'classes'}:{classpath.read_text()}"
    # The program lives for seconds: what the second compiler would cost is more than it gains.
    return ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", jars, "fhirgateway.fhirpath.Answers"]


@functools.cache
def generated() -> tuple[tuple[str, str, str], ...]:
    """Release, published example, expression."""
    return tuple(
        (release, name, generator.expression())
        for release, names in PUBLISHED.items()
        for seed, name in enumerate(names)
        for generator in (Generator(resource(release, name), load(release), seed),)
        for _ in range(EACH)
    )


EXAMPLES = [(group.release, group.on, group.example) for group in groups("hapi").values()]


@pytest.fixture(scope="module")
def theirs(command: list[str]) -> dict[tuple[str, str, str], str]:
    """What HAPI says in a release, on a published example, of an expression."""
    cases = [*generated(), *EXAMPLES]
    lines = [
        json.dumps({"id": at, "version": release, "resource": str(path_of(release, name)), "expression": text})
        for at, (release, name, text) in enumerate(cases)
    ]
    done = subprocess.run(command, input="\n".join(lines) + "\n", capture_output=True, text=True, check=True)
    said = [json.loads(line, parse_float=Decimal) for line in done.stdout.splitlines()]
    assert [one["id"] for one in said] == list(range(len(cases)))
    return {case: shown(one) for case, one in zip(cases, said, strict=True)}


@pytest.mark.parametrize("release", PUBLISHED)
def test_every_disagreement_with_hapi_is_settled(theirs: dict[tuple[str, str, str], str], release: str) -> None:
    pairs = [(case, ours(*case), theirs[case]) for case in generated() if case[0] == release]
    assert sum(mine.startswith("[") and mine == other for _, mine, other in pairs) > len(pairs) / 2
    open_ones = [(case, *said) for case, *said in pairs if not is_settled("hapi", case[2], *said)]
    assert open_ones == []


@pytest.mark.parametrize("name", groups("hapi"))
def test_the_example_of_a_group_shows_it(theirs: dict[tuple[str, str, str], str], name: str) -> None:
    group = groups("hapi")[name]
    case = (group.release, group.on, group.example)
    mine, other = ours(*case), theirs[case]
    assert mine != other
    assert mine.startswith("[") or other.startswith("[")
    assert group.has(group.example, mine, other), (mine, other)
