"""The checks are asked of the engine with the mistake in it, whatever they go through."""

import pytest

from tests.mutate.__main__ import all_mutants, end_of
from tests.mutate.rows import all_rows

MISTAKE = "library.collections _single: return focus -> return nothing"


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # the child runs these rows, and ends
def test_each_kind_of_check_meets_the_mistake() -> None:
    mutant = next(one for one in all_mutants() if one.name == MISTAKE)
    rows = {row.name: row for row in all_rows()}
    # The suites' cases go through the batch lines of the command, which once kept the engine without a mistake.
    for name in ("R4: testSingle1", "table: code.single().coding.count()"):
        assert end_of(None, [rows[name]], {}) is None
        assert end_of(mutant, [rows[name]], {}) is not None


def test_every_mutant_has_a_name_of_its_own() -> None:
    names = [mutant.name for mutant in all_mutants()]
    assert len(names) == len(set(names)) > 4_000
