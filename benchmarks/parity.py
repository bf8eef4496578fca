"""A month of trading compared with the backtest, under every sizing and exit rule.

    uv run python benchmarks/parity.py --save /tmp/parity.jsonl > benchmarks/results/parity.json

Runs the long forms of two tests. Each combination trades a month on a stepped clock and compares
kind, price, amount and fee of every fill: on paper one symbol and five, whose candles are held back
by times that a seed draws, and with real orders one symbol, in a market that a seed draws.
With `--save` each combination is appended to a file as soon as it has ended, and combinations that
the file has are not traded again, so that a run may be cut into several by `--minutes`. Prints one
JSON document.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from recording import ROOT, describe_machine, print_document, run_git

TESTS: Final = (
    "tests/apps/trader/test_parity.py",
    "tests/apps/trader/live/test_live_parity.py",
)
#: Packages and tests that the result of a combination depends on.
PATHS: Final = ["apps/trader", "packages", *TESTS, "tests/support"]
#: Combinations of one run of pytest: its start takes some seconds.
IN_A_RUN: Final = 6


def main() -> None:
    """Trade the combinations that the command line names, and print the outcome."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=int, default=720)
    parser.add_argument("--save", type=Path, metavar="FILE", help="results so far, a line for each")
    parser.add_argument("--at-once", type=int, default=2, metavar="N", help="processes")
    parser.add_argument("--minutes", type=float, default=120.0, help="then nothing more begins")
    options = parser.parse_args()
    deadline = time.monotonic() + 60 * options.minutes
    hours = str(options.hours)
    environment = os.environ | {
        "ONETAPE_PARITY_HOURS": hours,
        "ONETAPE_LIVE_PARITY_HOURS": hours,
    }
    before = describe_machine()
    tests = collect(environment)
    found: dict[str, dict[str, Any]] = {}
    if options.save is not None and options.save.exists():
        lines = [json.loads(line) for line in options.save.read_text().splitlines()]
        found = {one["test"]: one for one in lines if one["hours"] == options.hours}
    left = [name for name in tests if name not in found]
    for start in range(0, len(left), IN_A_RUN):
        if time.monotonic() > deadline:
            break
        for one in trade(left[start : start + IN_A_RUN], environment, options.at_once):
            found[one["test"]] = one
            if options.save is not None:
                with options.save.open("a", encoding="utf-8") as saved:
                    saved.write(json.dumps(one) + "\n")
    command = (
        f"uv run python benchmarks/parity.py --hours {options.hours} --minutes {options.minutes:g}"
    )
    combinations = [found[name] for name in tests if name in found]
    print_document("parity", command, PATHS, before, [], combinations=combinations)


def collect(environment: dict[str, str]) -> list[str]:
    """Return the node ids of all combinations."""
    done = run_pytest(["--collect-only", "-q", *TESTS], environment)
    return [line for line in done.stdout.splitlines() if "::" in line and line.endswith("]")]


def trade(names: Sequence[str], environment: dict[str, str], at_once: int) -> list[dict[str, Any]]:
    """Trade some combinations and return their results."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "junit.xml"
        flags = ["-q", "-n", str(min(at_once, len(names))), "--dist=load", f"--junitxml={report}"]
        done = run_pytest([*flags, *names], environment)
        if done.returncode:
            sys.stderr.write(done.stdout)
        cases = ElementTree.parse(report).getroot().iter("testcase")  # noqa: S314 - our own file
        by_name = {name.partition("::")[2]: name for name in names}
        commit = run_git("rev-parse", "HEAD")
        return [
            read_result(case, by_name[str(case.get("name"))]) | {"commit": commit} for case in cases
        ]


def read_result(case: ElementTree.Element, test: str) -> dict[str, Any]:
    """Return the result of one combination."""
    properties = {one.get("name"): one.get("value") for one in case.iter("property")}
    failed = case.find("failure") is not None or case.find("error") is not None
    return {
        "test": test,
        "symbols": properties.get("symbols"),
        "sizing": properties.get("sizing"),
        "exits": properties.get("exits"),
        "hours": int(properties.get("hours") or 0),
        "seed": int(properties.get("seed") or 0),
        "fills": int(properties.get("fills") or 0),
        "equal": not failed,
        "seconds": round(float(case.get("time") or 0), 1),
    }


def run_pytest(
    arguments: Sequence[str], environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run pytest in the repository."""
    return subprocess.run(  # noqa: S603 - fixed arguments
        [sys.executable, "-m", "pytest", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


if __name__ == "__main__":
    main()
