"""Outcome of an order whose response is lost: a live trading program on the simulator.

    uv venv /tmp/freqtrade && uv pip install --python /tmp/freqtrade/bin/python freqtrade==2026.9
    uv run python benchmarks/order_faults.py --freqtrade /tmp/freqtrade/bin/freqtrade \
        > benchmarks/results/order_faults.json

Each fault has several runs. `--save FILE` reads other results from an earlier document.

Each run starts a simulator in real time with coins that the program did not buy, lets one thing go
wrong at the program's first order, and reads the exchange's ledger and the program's own records
90 s later. Nothing leaves this machine. Another program is another `Driver`.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from recording import SEED, describe_machine, run_git
from traders.freqtrade import Freqtrade
from traders.onetape import Onetape
from traders.runs import Driver, fetch_order_rows

from onetape.simulator.embedded import EmbeddedSimulator, embedded_simulator
from onetape.simulator.trading.account_service import CAMPAIGN_BALANCE

#: Time for which a program is watched after its first order reached the exchange, seconds.
WATCHED_SECONDS: Final = 90.0
#: Time limit of a program's first order, seconds.
START_SECONDS: Final = 300.0
POLL_SECONDS: Final = 0.1
#: Largest distance of a fault and its order, milliseconds.
SAME_REQUEST_MS: Final = 500
ORDER: Final[dict[str, Any]] = {"method": "POST", "path": "/api/v3/order", "count": 1}


class NoOrder(Exception):
    """A program sent no order, so the fault could not happen to one."""


@dataclass(frozen=True)
class Scenario:
    """One fault scenario."""

    name: str
    fault: dict[str, Any] | None = None
    settle_seconds: float = 0.0
    """Time for which the simulator runs before the program starts."""
    is_killed: bool = False
    """Whether the program is killed as soon as its order is at the exchange, and started again."""


#: A program, a scenario, and the number of the run.
Job = tuple[Driver, Scenario, int]

SCENARIOS: Final = (
    Scenario("nothing"),
    Scenario("no response (timeout)", {"kind": "timeout", "when": "after", **ORDER}),
    Scenario("504 of a proxy", {"kind": "status", "status": 504, "when": "after", **ORDER}),
    Scenario("connection reset", {"kind": "reset", "when": "after", **ORDER}),
    Scenario("a page with status 200", {"kind": "wrong_body", "shape": "html", **ORDER}),
    Scenario("SIGKILL after the send", {"kind": "timeout", "when": "after", **ORDER}, 0.0, True),
    Scenario("half a response", {"kind": "cut_body", **ORDER}),
    Scenario("request lost (timeout)", {"kind": "timeout", "when": "before", **ORDER}),
    Scenario("refused once: 400, -1021", {"kind": "status", "status": 400, "code": -1021, **ORDER}),
    Scenario("response without status and fills", {"kind": "ack_only", "count": 1}),
    Scenario("seen 15 s late", {"kind": "visibility_delay", "seconds": 15.0}, 16.0),
    Scenario(
        "refused once: 429, -1003", {"kind": "status", "status": 429, "code": -1003, **ORDER}
    ),
)  # fmt: skip


def main() -> None:
    """Run every scenario and print the document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--freqtrade", type=Path, metavar="PROGRAM", help="run freqtrade too")
    parser.add_argument("--without-onetape", action="store_true", help="do not run our own trader")
    parser.add_argument("--save", type=Path, metavar="FILE", help="add to this document")
    parser.add_argument("--only", metavar="TEXT", action="append", help="faults that hold this")
    parser.add_argument("--at-once", type=int, default=2, metavar="N")
    parser.add_argument("--runs", type=int, default=3, metavar="N", help="of each fault")
    given = parser.parse_args()
    before = describe_machine()
    drivers: list[Driver] = []
    if given.freqtrade is not None:
        drivers.append(Freqtrade(given.freqtrade.resolve()))
    if not given.without_onetape:
        drivers.append(Onetape(run_git("rev-parse", "HEAD")))
    jobs: list[Job] = [
        (driver, scenario, run)
        for run in range(given.runs)
        for scenario in SCENARIOS
        for driver in drivers
        if given.only is None or any(text in scenario.name for text in given.only)
    ]
    with ThreadPoolExecutor(given.at_once) as pool:
        found = list(pool.map(find_outcome, jobs))
    outcomes = [one for one in found if one is not None]
    programs = {driver.name: driver.version() for driver in drivers}
    if given.keep is not None:
        saved = json.loads(given.keep.read_text(encoding="utf-8"))
        measured = {(one["program"], one["fault"]) for one in outcomes}
        outcomes += [
            one for one in saved["outcomes"] if (one["program"], one["fault"]) not in measured
        ]
        programs = {**saved["programs"], **programs}
    outcomes.sort(key=lambda one: (_place(one), one["program"], one["run"]))
    document = {
        "benchmark": "order_faults",
        "command": "uv run python benchmarks/order_faults.py --freqtrade PROGRAM",
        "commit": run_git("rev-parse", "HEAD"),
        "changed": bool(run_git("status", "--porcelain", "packages/simulator", "benchmarks/*.py")),
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": before,
        "seed": SEED,
        "programs": programs,
        "watched_seconds": WATCHED_SECONDS,
        "outcomes": outcomes,
    }
    print(json.dumps(document, indent=1))  # noqa: T201 - this is what it is for


def _place(one: dict[str, Any]) -> int:
    return [scenario.name for scenario in SCENARIOS].index(one["fault"])


def find_outcome(job: Job) -> dict[str, Any] | None:
    """Return the outcome of one program in one scenario; None where it sent no order in time."""
    return measure_outcome(*job)


def measure_outcome(driver: Driver, scenario: Scenario, run: int) -> dict[str, Any] | None:
    """Return the outcome of one program in one scenario; None where it sent no order in time."""
    with (
        tempfile.TemporaryDirectory() as name,
        # A separate account, because `trader` refuses a second process on one account.
        embedded_simulator(
            seed=SEED,
            balance=CAMPAIGN_BALANCE,
            account_id=10_000 * os.getpid() + 100 * run + SCENARIOS.index(scenario),
        ) as simulator,
    ):
        if scenario.fault is not None:
            simulator.faults.add(**scenario.fault)
        folder = Path(name)
        driver.prepare(folder, simulator.url)
        # The start balances of the account are visible before the program starts.
        time.sleep(scenario.settle_seconds)
        try:
            found = _watch_account(driver, scenario, folder, simulator)
        except NoOrder as error:
            print(f"{driver.name}, {scenario.name}: {error}", file=sys.stderr)  # noqa: T201
            return None
    print(f"{driver.name}, {scenario.name}: {found}", file=sys.stderr)  # noqa: T201 - progress
    return {"program": driver.name, "fault": scenario.name, "run": run, **found}


def _watch_account(
    driver: Driver, scenario: Scenario, folder: Path, simulator: EmbeddedSimulator
) -> dict[str, Any]:
    process = driver.start(folder)
    try:
        began = _wait_for_first_order(simulator, process)
        if scenario.is_killed:
            process.kill()
            process.wait()
            process = driver.start(folder)
        unprotected, protected_since = 0.0, None
        last = time.monotonic()
        while time.monotonic() < began + WATCHED_SECONDS:
            time.sleep(POLL_SECONDS)
            now = time.monotonic()
            bought, resting = _count_coins(simulator)
            if bought - resting > bought / 100:
                unprotected += now - last
                protected_since = None
            elif bought and protected_since is None:
                protected_since = now - began
            last = now
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    return _judge(driver, folder, simulator, unprotected, protected_since)


def _judge(
    driver: Driver,
    folder: Path,
    simulator: EmbeddedSimulator,
    unprotected: float,
    protected_since: float | None,
) -> dict[str, Any]:
    bought, resting = _count_coins(simulator)
    rows = fetch_order_rows(simulator)
    buys = {row["order_id"] for row in rows if row["side"] == "BUY" and row["event"] == "TRADE"}
    again = _next_order_seconds(simulator, rows)
    known = driver.known_coins(folder)
    return {
        "buys": len(buys),
        "orphaned_coins": str(max(bought - known * Decimal("1.002"), Decimal(0))),
        "coins": str(bought),
        "coins_without_stop": str(max(bought - resting, Decimal(0))),
        "unprotected_seconds": round(unprotected, 1),
        "protected_after_seconds": None if protected_since is None else round(protected_since, 1),
        "next_order_after_seconds": again,
    }


def _find_order_faults(simulator: EmbeddedSimulator) -> list[int]:
    """Return the market times, ms, of the faults of orders that were sent; reads do not count."""
    return [one.market_ms for one in simulator.faults.log if one.on.startswith("POST")]


def _next_order_seconds(simulator: EmbeddedSimulator, rows: list[dict[str, Any]]) -> float | None:
    """Return the time from the program's first request to its next accepted order.

    The order of the first request is not counted, if it was accepted.
    """
    accepted = [row["time_ms"] for row in rows if row["event"] == "NEW"]
    fired = _find_order_faults(simulator)
    began_ms = min([*fired, *accepted], default=0)
    if accepted and accepted[0] - began_ms < SAME_REQUEST_MS:
        accepted = accepted[1:]
    return (accepted[0] - began_ms) / 1_000 if accepted else None


def _wait_for_first_order(
    simulator: EmbeddedSimulator, process: "subprocess.Popen[bytes]"
) -> float:
    """Wait until the first order is at the exchange, or was refused by the fault."""
    give_up = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up:
        if fetch_order_rows(simulator) or _find_order_faults(simulator):
            return time.monotonic()
        if process.poll() is not None:
            raise NoOrder(f"the program ended with {process.returncode} before its first order")
        time.sleep(POLL_SECONDS)
    raise NoOrder("no order came")


def _count_coins(simulator: EmbeddedSimulator) -> tuple[Decimal, Decimal]:
    """Return the coins that were bought and not sold, and the part that a stop covers."""

    def read(account: Any) -> tuple[Decimal, Decimal]:
        balances = account.get_balances()["BTC"]
        held = Decimal(balances["free"]) + Decimal(balances["locked"])
        stops = [
            order
            for order in account.exchange.get_open_orders()
            if order.side == "SELL" and order.request.stop
        ]
        covered = sum((order.locked for order in stops), Decimal(0))
        return held - CAMPAIGN_BALANCE["BTC"], covered

    return simulator.run_on_account(read)


if __name__ == "__main__":
    main()
