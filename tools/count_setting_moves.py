"""Count of the files that one setting passes through from its flag to a fill.

    uv run python tools/count_setting_moves.py [--show]

It measures how directly the code passes settings on. A backtest of simulated candles runs in this
process with `--stop-loss 0.0512345`. Each time a function of Onetape is called with that number or
returns it (directly, or in a record, list or mapping), the number is in that function's file. A
move is counted each time this is another file than before. `--show` prints the moves.
"""

import sys
import tempfile
from collections.abc import Mapping
from contextlib import chdir, redirect_stdout
from pathlib import Path
from types import FrameType
from typing import Any, Final, cast

import msgspec

ROOT: Final = Path(__file__).resolve().parent.parent
#: A number that no other value of the run has.
VALUE: Final = 0.0512345
#: 2024-01-01 00:00 UTC, and the number of hours that are traded.
START, HOURS = 1_704_067_200, 1_000
#: Maximum depth of records inside records that are searched.
_DEPTH: Final = 4


class Follower:
    """Counts the moves of the value; a profile function of the interpreter (`sys.setprofile`)."""

    def __init__(self) -> None:
        """Begin before the first move."""
        self.files: list[str] = []
        """Each file that the value came to, in turn."""
        self.is_filled = False
        """Whether the orders of the backtest are filled, where the way ends."""
        self._names: dict[str, str] = {}

    def __call__(self, frame: FrameType, event: str, result: object) -> None:
        """Search the arguments of a call, or its return value."""
        if self.is_filled or event not in ("call", "return"):
            return
        # The search ends at the result of a simulation, which has all fills.
        self.is_filled = event == "return" and type(result).__name__ == "SimulationResult"
        file = self._name(frame.f_code.co_filename)
        if not file or (self.files and self.files[-1] == file):
            return
        code = frame.f_code
        count = code.co_argcount + code.co_kwonlyargcount
        names = code.co_varnames[: count + bool(code.co_flags & 0x08) + bool(code.co_flags & 0x04)]
        # `self` does not count, because a method does not move the record that it belongs to.
        given = [frame.f_locals.get(name) for name in names if name != "self"]
        values = given if event == "call" else [result]
        if any(holds(value) for value in values):
            self.files.append(file)

    def _name(self, path: str) -> str:
        """Return the path of a file inside the checkout; empty for files of other packages."""
        if path not in self._names:
            file = Path(path)
            is_ours = file.is_relative_to(ROOT) and ".venv" not in file.parts
            self._names[path] = str(file.relative_to(ROOT)) if is_ours else ""
        return self._names[path]


def holds(value: object, depth: int = _DEPTH) -> bool:
    """Return whether a value is the number, its text, or a record, list or mapping with it."""
    if isinstance(value, float):
        return value == VALUE
    if isinstance(value, str):
        return value == str(VALUE)
    if depth == 0:
        return False
    if isinstance(value, msgspec.Struct):
        inner: Any = (getattr(value, name) for name in value.__struct_fields__)
    elif isinstance(value, Mapping):
        inner = cast("Mapping[object, object]", value).values()
    elif isinstance(value, list | tuple) and len(cast("list[object]", value)) < 100:
        inner = cast("list[object]", value)
    else:
        return False
    return any(holds(one, depth - 1) for one in cast("list[object]", inner))


def follow_setting(folder: Path) -> list[str]:
    """Return the files that the value passes through in one backtest, in order.

    Args:
        folder: Empty folder for the candles and the output of the run.
    """
    from onetape.core.candles import SeriesKey
    from onetape.simulator.market.simulated_market import SimulatedMarket
    from onetape.store.candles import insert_columns
    from onetape.store.database import open_store

    key = SeriesKey("simulator", "BTC/USDT", "1h")
    candles = SimulatedMarket(7).get_candles(
        key.symbol, key.timeframe, START, START + HOURS * 3_600
    )
    with open_store(folder / "candles.db", create=True) as store:
        insert_columns(store, key, candles, source="rest", seen_ms=0)
    flags = ["--exchange", "simulator", "--db", "candles.db", "--strategy", "sma_cross"]
    flags += ["--json", "--no-report", "--no-check", "--stop-loss", str(VALUE)]
    from backtester.main import app
    from onetape.cli.program import run_typer_app

    follower = Follower()
    output = folder / "output.json"
    with (
        chdir(folder),
        output.open("w", encoding="utf-8") as file,
        redirect_stdout(file),
    ):
        sys.setprofile(follower)
        try:
            code = run_typer_app(app, "backtester", flags)
        finally:
            sys.setprofile(None)
    if code or '"stop_loss"' not in output.read_text(encoding="utf-8"):
        msg = f"the backtest ended with {code}, or no stop was filled"
        raise SystemExit(msg)
    return follower.files


def main(arguments: list[str]) -> int:
    """Print the count; return the exit code."""
    with tempfile.TemporaryDirectory() as folder:
        files = follow_setting(Path(folder))
    if "--show" in arguments:
        print("\n".join(files))
    print(f"{len(files) - 1} moves between files, from {files[0]} to {files[-1]}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
