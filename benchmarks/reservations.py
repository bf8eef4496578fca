"""Count of money that processes on one account spend twice, with and without reservations.

    uv run python benchmarks/reservations.py > benchmarks/results/reservations.json

A sample is one run with its seed: processes trade different symbols with the money of
one account, as fast as they can (tests/support/spenders.py). Afterwards the stored trades are added
up. In the last measurement reservations do not count, which shows that the sum finds money that is
spent twice. Prints one JSON document.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from recording import ROOT, SEED, describe_machine, measure, print_document

sys.path.append(str(ROOT / "tests" / "support"))

from spenders import (
    count_positions_after_each_trade,
    read_cash_after_each_trade,
    run_spenders,
)

#: What the result of a run depends on.
PATHS: Final = ["apps/trader", "packages", "tests/support"]
#: Maximum number of open positions, in the measurement with limited slots.
MAX_POSITIONS: Final = 2


def main() -> None:
    """Run the measurement of the command line, and print its document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=10)
    parser.add_argument("--orders", type=int, default=10_000, help="of all processes, in a run")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each measurement")
    options = parser.parse_args()
    before = describe_machine()
    seeds = range(SEED, SEED + options.rounds)
    with tempfile.TemporaryDirectory() as name:
        found = measure_reservations(Path(name), options.processes, options.orders, seeds)
    command = (
        f"uv run python benchmarks/reservations.py --processes {options.processes} "
        f"--orders {options.orders} --rounds {options.rounds}"
    )
    print_document("reservations", command, PATHS, before, found)


def measure_reservations(
    folder: Path, processes: int, orders: int, seeds: Sequence[int]
) -> list[dict[str, Any]]:
    """Run the processes on new accounts and return the measurements.

    Args:
        folder: Folder of the databases; each is deleted with the folder.
        processes: Processes of a run, each with a different symbol.
        orders: Orders of all processes of a run.
        seeds: Seeds of the runs, one for each sample.
    """
    name = f"{processes} processes, {orders:,} random orders on one account"
    more = {"seeds": list(seeds)}
    overspent: list[float] = []
    without_money: list[float] = []
    too_many: list[float] = []
    without_place: list[float] = []
    unguarded: list[float] = []
    for seed in seeds:
        path = folder / f"money-{seed}.db"
        without_money.append(run_spenders(path, processes=processes, orders=orders, seed=seed))
        overspent.append(_count_overspent(path))
        path = folder / f"places-{seed}.db"
        without_place.append(
            run_spenders(
                path, processes=processes, orders=orders, seed=seed, most_positions=MAX_POSITIONS
            )
        )
        counts = count_positions_after_each_trade(path)
        too_many.append(sum(count > MAX_POSITIONS for count in counts))
        path = folder / f"unguarded-{seed}.db"
        run_spenders(path, processes=processes, orders=orders, seed=seed, is_guarded=False)
        unguarded.append(_count_overspent(path))
    limited = f"{name} with {MAX_POSITIONS} slots"
    return [
        measure(
            f"{name}: fills after which its cash is negative", "fills", overspent,
            goal=1, wanted="below", **more,
        ),
        measure(
            f"{name}: orders for which no money was left", "orders", without_money,
            goal=0, wanted="above", **more,
        ),
        measure(
            f"{limited}: fills after which it has more positions", "fills", too_many,
            goal=1, wanted="below", **more,
        ),
        measure(
            f"{limited}: orders for which no slot was left", "orders", without_place,
            goal=0, wanted="above", **more,
        ),
        measure(
            f"{name}, reservations ignored: fills after which its cash is negative", "fills",
            unguarded, goal=0, wanted="above", **more,
        ),
    ]  # fmt: skip


def _count_overspent(path: Path) -> int:
    return sum(cash < 0 for cash in read_cash_after_each_trade(path))


if __name__ == "__main__":
    main()
