"""Comparison of ledgers over many real orders while a fifth of the order requests goes wrong.

    uv run python benchmarks/live_orders.py --orders 10000

The benchmark continues an earlier run: the results in `results/live_orders.json` stay, and the file
is written again after each part. A part is `order_campaign.run_campaign` of 100 orders with a new
seed: entries, stops, stops that are moved, exits. Several parts run side by side.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from recording import ROOT, describe_machine, measure, run_git

sys.path.insert(0, str(ROOT / "tests" / "support"))

from onetape.core.errors import OnetapeError
from order_campaign import run_campaign

FILE: Final = ROOT / "benchmarks" / "results" / "live_orders.json"
PATHS: Final = ("apps/trader", "packages", "tests/support")
PART: Final = 100
AT_ONCE: Final = 6
UNEQUAL: Final = "part of 100 orders: doubled, lost, sold too much or ledgers unequal"
SENT: Final = "orders sent in a part"
FAILED: Final = "requests failed in a part"

#: Commits that were measured; a continued run may be of a later commit.
_commits: list[str] = []


def main() -> None:
    """Send orders until there are enough, or the time is over."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=10_000)
    parser.add_argument("--minutes", type=float, default=60.0)
    options = parser.parse_args()
    before = describe_machine()
    measurements = [
        measure(UNEQUAL, "of 1", [], goal=1, wanted="below"),
        measure(SENT, "orders", [], goal=PART - 1, wanted="above"),
        measure(FAILED, "requests", [], goal=PART / 5, wanted="above"),
    ]
    if FILE.exists():
        document = json.loads(FILE.read_text(encoding="utf-8"))
        before, measurements = document["machine"], document["measurements"]
        _commits.extend(document["commits"])
    found = {one["name"]: one["samples"] for one in measurements}
    deadline = time.monotonic() + 60 * options.minutes
    while sum(found[SENT]) < options.orders and time.monotonic() < deadline:
        asyncio.run(_run_parts(found, len(found[SENT])))
        _write(measurements, before)


async def _run_parts(found: dict[str, list[float]], first: int) -> None:
    with TemporaryDirectory(prefix="live-orders-") as folder:
        parts = [
            run_campaign(Path(folder) / f"{seed}.db", seed, PART)
            for seed in range(first, first + AT_ONCE)
        ]
        for one in await asyncio.gather(*parts, return_exceptions=True):
            if isinstance(one, OnetapeError):
                # The part did not begin, as on a computer that is too busy.
                print(f"not measured: {one}", file=sys.stderr)  # noqa: T201 - progress
                continue
            if isinstance(one, BaseException):
                raise one
            found[UNEQUAL].append(float(bool(one.faults)))
            found[SENT].append(float(one.orders))
            found[FAILED].append(float(one.requests_failed))
            for fault in one.faults:
                print(fault, file=sys.stderr)  # noqa: T201 - progress


def _write(measurements: list[dict[str, Any]], before: dict[str, Any]) -> None:
    """Write the document of all runs so far."""
    commit = run_git("rev-parse", "HEAD")
    if commit not in _commits:
        _commits.append(commit)
    document = {
        "benchmark": "live_orders",
        "command": "uv run python benchmarks/live_orders.py --orders 10000",
        "commit": commit,
        "commits": _commits,
        "changed": bool(run_git("status", "--porcelain", *PATHS, "benchmarks/*.py")),
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": before,
        "seed": 0,
        "measurements": measurements,
    }
    part = FILE.with_suffix(f".{os.getpid()}")
    part.write_text(json.dumps(document) + "\n", encoding="utf-8")
    part.replace(FILE)


if __name__ == "__main__":
    main()
