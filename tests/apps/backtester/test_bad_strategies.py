"""A strategy that cannot be used ends the program with one line: strategy, bar, remedy."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onetape.store.database import open_store

SOURCE = """
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onetape.strategies import Signals, Strategy, parameter


@dataclass(frozen=True)
class Bad(Strategy):
    name: ClassVar[str] = "bad"
    period: int = parameter(5, ge=2, le=50)

    @property
    def lookback(self):
        return 20

    def evaluate(self, candles, higher):
        n = len(candles)
        signal = np.zeros(n)
        {body}
"""
#: What a strategy does, then the exit code and the parts of the line.
BODIES = {
    "raises": (
        "return candles.nothing",
        3,
        ("failed on the 2,880 candles up to 2024-04-29 23:00: AttributeError", "line 22)"),
    ),
    "divides by nothing": ("return 1 / 0", 3, ("ZeroDivisionError: division by zero", "fix it")),
    "exits": ("raise SystemExit(0)", 3, ("SystemExit: 0", "fix it there")),
    "one signal too few": (
        "return Signals(signal[1:], {})",
        3,
        ("signals of shape (2879,) for 2,880 candles from 2024-01-01 00:00 UTC", "one signal per"),
    ),
    "a signal that is NaN": (
        "signal[7] = np.nan; return Signals(signal, {})",
        3,
        ("gave the signal nan on the candle 2024-01-01 07:00 UTC", "only 1 (BUY), -1 (SELL)"),
    ),
    "an unknown signal": (
        "signal[9] = 2; return Signals(signal, {})",
        3,
        ("gave the signal 2.0 on the candle 2024-01-01 09:00 UTC", "only 1 (BUY), -1 (SELL)"),
    ),
    "words": ("return Signals(['BUY'] * n, {})", 3, ("signals of type <U3", "whole numbers")),
    "a mask": (
        "return Signals(np.ma.masked_array(np.ones(len(signal), np.int8), signal == 0), {})",
        3,
        ("returned signals with a mask", "values.filled(0)"),
    ),
    "candles made writable again": (
        "candles.close.setflags(write=True); candles.close[:] *= 2; "
        "return Signals(np.ones(len(candles), np.int8), {})",
        3,
        ("ValueError: cannot set WRITEABLE flag to True of this array",),
    ),
    "an error of ours": (
        "from onetape.core.errors import UsageError; raise UsageError('of its own')",
        3,
        ("failed on the 2,880 candles", "of its own (", "; fix it there"),
    ),
    "an error without a text": (
        "raise type('Odd', (Exception,), {'__str__': lambda self: 1 / 0})()",
        3,
        ("Odd: (its text fails: ZeroDivisionError)",),
    ),
    "a long error with control characters": (
        "raise ValueError('x' * 5_000 + chr(27))",
        3,
        (f"ValueError: {'x' * 497}... (",),
    ),
    "nothing": ("pass", 3, ("returned NoneType", "return Signals(...)")),
    "no end": (
        "return self.evaluate(candles, higher)",
        3,
        ("RecursionError: maximum recursion depth exceeded", "bad.py, line 2"),
    ),
}


Run = Callable[..., tuple[int, str, str]]
#: Flags of a backtest of the simulator's candles that writes no file.
PLAIN = ("--exchange", "simulator", "--no-report", "--no-save")


def run_script(folder: Path, *arguments: str) -> tuple[int, str, str]:
    """Run the console script in a separate process, which a strategy may end."""
    program = Path(sys.executable).with_name("backtester")
    done = subprocess.run(
        [program, *arguments, *PLAIN],
        cwd=folder,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def run(backtester: Callable[..., Any]) -> Callable[..., tuple[int, str, str]]:
    """Return a function that runs the program in this process."""

    def ended(*arguments: str) -> tuple[int, str, str]:
        done = backtester(*arguments, *PLAIN)
        return done.code, done.out, done.err

    return ended


def assert_one_line(
    ended: tuple[int, str, str], code: int, name: str, words: tuple[str, ...]
) -> None:
    """Compare exit code, stdout and stderr of a program with one line of error."""
    assert ended[:2] == (code, "")
    (line,) = ended[2].splitlines()
    # A parameter is reported with its flag.
    assert line.startswith(
        (f"backtester: strategy {name}", f"backtester: --param: strategy {name}")
    )
    for part in words:
        assert part in line


@pytest.mark.parametrize("what", BODIES)
def test_an_unusable_strategy_is_reported_in_one_line(
    folder: Path, database: Path, what: str
) -> None:
    del database
    body, code, words = BODIES[what]
    (folder / "bad.py").write_text(SOURCE.replace("{body}", body))
    assert_one_line(run_script(folder, "--strategy", "bad.py"), code, "bad", words)


@pytest.mark.parametrize(
    ("parameter", "words"),
    [
        ("period=51", "period must be 2 to 50, found 51"),
        ("period=nan", "period must be a whole number, found 'nan'"),
        ("perod=5", "has no parameter 'perod'; did you mean 'period'?"),
    ],
)
def test_an_invalid_parameter_is_refused(
    folder: Path, database: Path, run: Run, parameter: str, words: str
) -> None:
    del database
    (folder / "bad.py").write_text(SOURCE.replace("{body}", "return Signals(signal, {})"))
    assert_one_line(run("--strategy", "bad.py", "--param", parameter), 2, "bad", (words,))


def spoil(database: Path, values: str) -> None:
    """Change a candle past the table's rules: plain SQL can switch the guards off."""
    with open_store(database, create=False) as store, store.write() as connection:
        connection.execute("PRAGMA ignore_check_constraints = 1")
        connection.execute(
            f"UPDATE ohlcv_data SET {values}, closed = 1 WHERE timestamp = ?",
            (1_704_067_200 + 50 * 3_600,),
        )
        connection.execute("PRAGMA ignore_check_constraints = 0")


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ("open = 0, low = 0", "a price is out of range"),
        ("close = -5, low = -9", "a price is out of range"),
        ("high = low / 2", "high or low does not hold open and close"),
        ("volume = -3", "volume is out of range"),
    ],
)
def test_a_row_that_breaks_a_rule_of_the_table_is_not_traded(
    database: Path, run: Run, values: str, fault: str
) -> None:
    spoil(database, values)
    assert_one_line(run("-s", "rsi"), 4, "rsi", ("2024-01-03 02:00 UTC", fault, "delete that"))


@pytest.mark.parametrize("column", ["open", "high", "low", "close", "volume"])
def test_a_stored_value_that_is_not_a_number_is_reported_with_its_candle(
    database: Path, run: Run, column: str
) -> None:
    spoil(database, f"{column} = 9e999")
    done = run("--strategy", "rsi")
    assert_one_line(
        done, 4, "rsi", ("2024-01-03 02:00 UTC", f"its {column} is not a number", "delete that")
    )
