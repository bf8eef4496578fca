"""Runs of the random tests with other seeds, for a given time: `make explore`.

Each round prints its seed first, and a round that has begun is finished. At the end the commands
that repeat each failure are printed; the exit code is 1 if there is a failure.

    explore.py SECONDS [ARGUMENTS OF PYTEST ...]
"""

import random
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: The option of Hypothesis that seeds all tests (tests/support/repeatable.py).
SEED_OPTION = "--hypothesis-seed"
#: Start of the line in which tests print the command that repeats a failure.
REPEAT = "repeat with: "
#: Seeds are short enough to be typed.
SEEDS = 10**6
#: Exit codes of pytest: all passed, some failed. After other codes another round is useless.
COMPLETED_CODES = {0, 1}


def run_round(seed: int, arguments: Sequence[str]) -> tuple[int, list[str]]:
    """Run one round; return pytest's exit code and the lines that repeat its failures."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "hypothesis or seeded"]
    with subprocess.Popen(
        [*command, f"{SEED_OPTION}={seed}", *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        lines: list[str] = []
        for line in process.stdout or ():
            print(line, end="", flush=True)
            lines += [line.strip()] if line.startswith(REPEAT) else []
        return process.wait(), lines


def main() -> None:
    """Run rounds until the seconds of the command line are over.

    Raises:
        SystemExit: 1 after failures, or the exit code of pytest where it cannot run.
    """
    seconds = float(sys.argv[1])
    began = time.monotonic()
    failures: list[str] = []
    rounds = 0
    while not rounds or time.monotonic() < began + seconds:
        seed, rounds = random.SystemRandom().randrange(SEEDS), rounds + 1
        print(f"round {rounds}: seed {seed}", flush=True)
        code, lines = run_round(seed, sys.argv[2:])
        if code not in COMPLETED_CODES:
            raise SystemExit(code)
        failures += lines
    print(f"{rounds} rounds, {len(failures)} failures", *failures, sep="\n")
    if failures:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
