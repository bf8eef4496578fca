"""A resumed optimization reuses results only for equal candles, code and rules."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import onetape.engine
import onetape.strategies
from onetape.store.database import open_store

Run = Callable[..., Any]
PAIR = ("--strategy", "sma_cross", "--param", "fast=5", "--param", "slow=10,30")
LATER = ("--from", "2024-02-01")


def count_reused(found: dict[str, Any]) -> int:
    """Return how many combinations were not tried again."""
    return found["trials"]["earlier"]


def change_candle(database: Path, moment: int) -> None:
    with open_store(database, create=False) as store, store.write() as connection:
        connection.execute(
            "UPDATE ohlcv_data SET volume = volume + 1 WHERE timestamp = ?", (moment,)
        )
        assert connection.changes() == 1


@pytest.mark.parametrize(
    ("moment", "which"),
    [(1_706_745_600, "in the range"), (1_706_742_000, "of the warm-up"), (1_706_140_800, "before")],
)
def test_a_changed_candle_that_a_strategy_may_read_restarts_the_optimization(
    optimize: Run, database: Path, moment: int, which: str
) -> None:
    del which
    optimize(*PAIR, *LATER)
    change_candle(database, moment)
    assert count_reused(optimize(*PAIR, *LATER)) == 0


def test_a_combination_with_a_longer_lookback_continues_in_the_same_folder(optimize: Run) -> None:
    first = optimize(*PAIR, *LATER)
    wider = optimize(*PAIR[:-1], "slow=10,30,250", *LATER)
    assert wider["folder"] == first["folder"]
    assert count_reused(wider) == 2


def test_a_changed_file_that_the_strategy_imports_restarts_the_optimization(
    optimize: Run, backtester: Run, database: Path, folder: Path
) -> None:
    del database
    assert backtester("new-strategy", "mine").code == 0
    path, tools = folder / "user/strategies/mine.py", folder / "user/strategies/my_tools.py"
    path.write_text("import my_tools\n" + path.read_text())
    tools.write_text("N = 1\n")
    wanted = ("--strategy", "mine", "--param", "period=10,20")
    optimize(*wanted)
    assert count_reused(optimize(*wanted)) == 2
    tools.write_text("N = 2\n")
    assert count_reused(optimize(*wanted)) == 0


@pytest.mark.parametrize("package", [onetape.strategies, onetape.engine])
def test_changed_code_of_onetape_restarts_the_optimization(
    optimize: Run, monkeypatch: pytest.MonkeyPatch, package: Any
) -> None:
    optimize(*PAIR)
    changed = Path(package.__path__[0])
    read = Path.read_bytes

    def newer(path: Path) -> bytes:
        return read(path) + (b"# newer" if path.is_relative_to(changed) else b"")

    monkeypatch.setattr(Path, "read_bytes", newer)
    assert count_reused(optimize(*PAIR)) == 0
