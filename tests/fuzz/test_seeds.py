"""The committed seeds, whole and damaged, without atheris: the harnesses hold, and they do reach what they are for."""

from pathlib import Path
from random import Random

import pytest

from gateway.errors import Malformed
from gateway.fhir.resource import BodyLimits, parse
from tests.fuzz.draw import Draw
from tests.fuzz.expressions import expression
from tests.fuzz.harnesses import HARNESSES

SEEDS = Path(__file__).parent / "seeds"
_DAMAGED = {"policy_file": 5}
_MANY = 25


@pytest.mark.parametrize("name", HARNESSES)
def test_seeds_and_damaged_seeds_find_nothing(name: str) -> None:
    seeds = [path.read_bytes() for path in sorted((SEEDS / name).iterdir())]
    assert seeds
    random = Random(name)
    for seed in seeds:
        HARNESSES[name](seed)
    for _ in range(_DAMAGED.get(name, _MANY)):
        HARNESSES[name](_damaged(random.choice(seeds), random))


def _damaged(seed: bytes, random: Random) -> bytes:
    made = bytearray(seed)
    for _ in range(random.randrange(1, 6)):
        at = random.randrange(len(made) + 1)
        if random.random() < 0.5:
            made[at : at + random.randrange(4)] = random.randbytes(random.randrange(4))
        else:
            made[at:at] = made[: random.randrange(8)]
    return bytes(made)


def test_a_harness_lets_an_undeclared_error_through(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_body: bytes, _limits: BodyLimits) -> object:
        raise KeyError("undeclared")

    monkeypatch.setattr("tests.fuzz.harnesses.parse", broken)
    with pytest.raises(KeyError):
        HARNESSES["json_body"](b"{}")
    with pytest.raises(Malformed):
        parse(b"{", BodyLimits())


def test_drawn_expressions_are_of_many_kinds() -> None:
    random = Random(1)
    made = {expression(Draw(random.randbytes(60))) for _ in range(300)}
    assert len(made) > 200
    assert all(any(word in one for one in made) for word in (".where(", " is ", "[", ".descendants()", " implies "))
