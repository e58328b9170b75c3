"""`make fuzz`: each harness for a while, guided by the coverage that atheris (libFuzzer) sees.

The corpus is kept between runs; it starts with the committed seeds. A finding is written to build/fuzz/, and ends the
run with exit code 1.
"""

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SEEDS = Path(__file__).parent / "seeds"
FINDINGS = ROOT / "build" / "fuzz"
_INPUT_SECONDS = 20
_MEGABYTES = 2_500


def main() -> None:
    """Without `--one` each chosen harness in a process of its own."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("words", nargs="*", help="only harnesses whose name has one of these words")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--corpus", type=Path, default=ROOT / "build" / "corpus")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments, options = parser.parse_known_args()
    if arguments.one:
        _fuzz(arguments.one, options)
        return
    from tests.fuzz.harnesses import HARNESSES

    found = [
        name
        for name in HARNESSES
        if not arguments.words or any(word in name for word in arguments.words)
        if not _is_clean(name, arguments.seconds, arguments.corpus)
    ]
    sys.stdout.write(f"findings: {', '.join(found)}; the inputs are in {FINDINGS}\n" if found else "nothing found\n")
    sys.exit(1 if found else 0)


def _is_clean(name: str, seconds: int, corpus: Path) -> bool:
    own, findings = corpus / name, FINDINGS / name
    own.mkdir(parents=True, exist_ok=True)
    findings.mkdir(parents=True, exist_ok=True)
    seeds = SEEDS / name
    command = [
        *(
            sys.executable,
            "-m",
            "tests.fuzz",
            "--one",
            name,
            f"-max_total_time={seconds}",
            f"-timeout={_INPUT_SECONDS}",
        ),
        *(f"-rss_limit_mb={_MEGABYTES}", f"-artifact_prefix={findings}/", "-print_final_stats=1", "-max_len=4096"),
        *(str(own), *([str(seeds)] if seeds.is_dir() else [])),
    ]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    report = f"{ended.stdout}\n{ended.stderr}"
    runs = next((line.split()[-1] for line in report.splitlines() if "number_of_executed_units" in line), "?")
    sys.stdout.write(f"{name}: {runs} inputs, {'clean' if ended.returncode == 0 else 'FOUND SOMETHING'}\n")
    if ended.returncode != 0:
        sys.stdout.write(report[-4_000:])
    sys.stdout.flush()
    return ended.returncode == 0


def _fuzz(name: str, options: list[str]) -> None:
    import atheris

    with atheris.instrument_imports(include=["gateway"]):
        from tests.fuzz.harnesses import HARNESSES
    atheris.Setup([sys.argv[0], *options], HARNESSES[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
