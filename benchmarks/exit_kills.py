"""Recovery of a trader from kills: SIGKILL before and after each commit of an order, in rounds.

    uv run python benchmarks/exit_kills.py --minutes 20 > benchmarks/results/exit_kills.json

A round is the long form of tests/apps/trader/test_commit_points.py with one kill at each of the 14
points. A sample is a kill: 0 where the restarted trader had lost no exit and booked nothing twice,
1 where it had, or where the kill or the restart was late. Prints one JSON document.
"""

import argparse
import os
import re
import subprocess
import sys
import time
from collections import defaultdict
from typing import Final

from recording import ROOT, describe_machine, measure, print_document

TESTS: Final = "tests/apps/trader/test_commit_points.py"
#: In a line of `pytest -v`: the point and moment of a kill, and the outcome.
POINT: Final = re.compile(r"\[([a-z ]+)-(before|after)-\d+\]")
OUTCOME: Final = re.compile(r"PASSED|FAILED|ERROR")


def main() -> None:
    """Kill for as long as the command line states, and print the outcome."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    before = describe_machine()
    deadline = time.monotonic() + 60 * options.minutes
    found: defaultdict[str, list[float]] = defaultdict(list)
    for _ in range(options.rounds):
        if time.monotonic() > deadline:
            break
        kill_at_each_point(found)
    measurements = [
        measure(f"kill {point}: failed", "of 1", samples, goal=1, wanted="below")
        for point, samples in sorted(found.items())
    ]
    command = f"uv run python benchmarks/exit_kills.py --minutes {options.minutes:g}"
    paths = ["apps/trader", "packages/store", "packages/execution", TESTS]
    print_document("exit_kills", command, paths, before, measurements)


def kill_at_each_point(found: defaultdict[str, list[float]]) -> None:
    """Kill a trader once at each point; add the outcome."""
    running = subprocess.run(  # noqa: S603 - fixed arguments
        [sys.executable, "-m", "pytest", "-v", "-n", "0", "--tb=short", TESTS],
        cwd=ROOT,
        env=os.environ | {"ONETAPE_POINT_STRIKES": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    for line in running.stdout.splitlines():
        point, outcome = POINT.search(line), OUTCOME.search(line)
        if "::" in line and point and outcome and not line.startswith(outcome[0]):
            found[f"{point[2]} {point[1]}"].append(float(outcome[0] != "PASSED"))
    if running.returncode:
        sys.stderr.write(running.stdout[-6_000:])


if __name__ == "__main__":
    main()
