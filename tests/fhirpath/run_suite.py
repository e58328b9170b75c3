"""Prints how the engine does on an official suite: `python -m tests.fhirpath.run_suite R4 [PART-OF-A-NAME]`.

Each case that is not as the suite says gets a line; the listed ones (tests/cases/fhirpath-suite.yaml) have a mark.
"""

import sys
from collections import Counter

from tests.fhirpath.known import listed
from tests.fhirpath.suite import cases, fault


def main(release: str, part: str = "") -> None:
    """Run the cases whose name has the part."""
    counts: Counter[str] = Counter()
    reasons = listed(release)
    for case in cases(release):
        if part not in case.name:
            continue
        said = fault(case)
        known = case.name in reasons
        kind = "passed" if said is None else "listed" if known else "failed"
        counts[kind] += 1
        counts["to be taken off the list"] += said is None and known
        if said is not None:
            print(f"{'(listed) ' if known else ''}{case.name}: {case.expression.strip()[:160]}\n    {said}")  # noqa: T201
    print(f"{release}: {sum(counts[one] for one in ('passed', 'listed', 'failed'))} cases:", dict(+counts))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
