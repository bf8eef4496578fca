"""Recovery of real orders from kills: SIGKILL at named points around a send, a stop and an exit.

    uv run python benchmarks/live_kills.py --strikes 200

The benchmark continues an earlier run: the results in `results/live_kills.json` stay, and the file
is written again after each round (a kill at each point). `kill_and_recover` makes one kill:
a warm process is forked, plays a scene whose time, amount and stop come from a seed, and is killed
by itself at the point; the next trader recovers, is compared with the simulator's ledger, sells,
and is compared again. The recovering trader of those has short time limits for look-ups; with
`--own-limits` it has the program's own, and the clock of the exchange runs on.
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

from live_desk import QUICK
from live_kill_outcomes import KillOutcome, WarmProcess, kill_and_recover, start_warm_process
from live_kills import POINTS
from onetape.core.errors import OnetapeError
from trader.live.times import LiveTimes

FILE: Final = ROOT / "benchmarks" / "results" / "live_kills.json"
#: Limits of the time until exits and stops work again, and until entries do, wall seconds.
SAFE_SECONDS: Final = 10.0
RESOLVED_SECONDS: Final = 75.0
PATHS: Final = ("apps/trader", "packages", "tests/support")

#: Measurements by name.
Found = dict[str, dict[str, Any]]

#: Commits that were measured; a continued run may be of a later commit.
_commits: list[str] = []


def main() -> None:
    """Kill until every point has its kills, or the time is over."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--strikes", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--own-limits", type=int, default=0, metavar="STRIKES")
    options = parser.parse_args()
    before = describe_machine()
    found: Found = {}
    if FILE.exists():
        document = json.loads(FILE.read_text(encoding="utf-8"))
        before = document["machine"]
        _commits.extend(document["commits"])
        found = {one["name"]: one for one in document["measurements"]}
    asyncio.run(_run_campaign(options, found, before))


async def _run_campaign(options: argparse.Namespace, found: Found, before: dict[str, Any]) -> None:
    deadline = time.monotonic() + 60 * options.minutes
    async with start_warm_process() as warm:
        for number in range(options.strikes):
            missing = [
                one
                for one in POINTS
                if len(_collect_samples(found, _make_failed_name(one))) <= number
            ]
            for point in missing:
                if time.monotonic() > deadline:
                    return
                strike_ = await _kill_once(warm, point, number, QUICK)
                if strike_ is not None:
                    _add(found, point, strike_)
            if missing:
                _write(found, before)
        turns = [point for _ in range(options.own_limits) for point in POINTS]
        limit = asyncio.Semaphore(4)
        lock = asyncio.Lock()

        async def one(number: int, point: str) -> None:
            async with limit:
                strike_ = await _kill_once(warm, point, number, LiveTimes(), lock)
            if strike_ is None:
                return
            _add_fault(found, "killed, own time limits: doubled, orphaned or unequal", strike_)
            _add_times(found, "own time limits", strike_)
            _write(found, before)

        await asyncio.gather(*(one(*turn) for turn in enumerate(turns)))


async def _kill_once(
    warm: WarmProcess,
    point: str,
    seed: int,
    times: LiveTimes,
    lock: asyncio.Lock | None = None,
) -> KillOutcome | None:
    """Kill once; return None if the scene did not reach its point, because of load."""
    with TemporaryDirectory(prefix="live-kills-") as folder:
        try:
            found = await kill_and_recover(
                warm, Path(folder), point, seed, times=times, playing=lock
            )
        except (AssertionError, OnetapeError) as error:
            print(f"{point}, seed {seed}: not killed: {error}", file=sys.stderr)  # noqa: T201 - progress
            return None
    if found.fault:
        print(f"{point}, seed {seed}: {found.fault}", file=sys.stderr)  # noqa: T201 - progress
    return found


def _make_failed_name(point: str) -> str:
    return f"killed, {point}: doubled, orphaned, unprotected or ledgers unequal"


def _collect_samples(found: Found, name: str) -> list[float]:
    return found[name]["samples"] if name in found else []


def _add(found: Found, point: str, one: KillOutcome) -> None:
    """Add a kill to the measurements."""
    _add_fault(found, _make_failed_name(point), one)
    _add_times(found, "short time limits", one)


def _add_fault(found: Found, name: str, one: KillOutcome) -> None:
    found.setdefault(name, measure(name, "of 1", [], goal=1, wanted="below"))
    found[name]["samples"].append(float(bool(one.fault)))


def _add_times(found: Found, limits: str, one: KillOutcome) -> None:
    times = (
        ("from restart to stop or sale", one.safe_seconds, SAFE_SECONDS),
        ("from restart until resolved", one.resolved_seconds, RESOLVED_SECONDS),
    )
    for text, seconds, goal in times:
        name = f"{text}, {limits}"
        found.setdefault(name, measure(name, "s", [], goal=goal, wanted="below"))
        if seconds is not None:
            found[name]["samples"].append(seconds)


def _write(found: Found, before: dict[str, Any]) -> None:
    """Write the document of all runs so far."""
    commit = run_git("rev-parse", "HEAD")
    if commit not in _commits:
        _commits.append(commit)
    document = {
        "benchmark": "live_kills",
        "command": "uv run python benchmarks/live_kills.py --strikes 200",
        "commit": commit,
        "commits": _commits,
        "changed": bool(run_git("status", "--porcelain", *PATHS, "benchmarks/*.py")),
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": before,
        "seed": 0,
        "measurements": [found[name] for name in sorted(found)],
    }
    part = FILE.with_suffix(f".{os.getpid()}")
    part.write_text(json.dumps(document) + "\n", encoding="utf-8")
    part.replace(FILE)


if __name__ == "__main__":
    main()
