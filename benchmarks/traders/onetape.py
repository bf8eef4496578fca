"""Onetape's trader in live mode, with an always-long strategy and a stop at the exchange."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Final

_STRATEGY: Final = '''"""Always long."""

from onetape.strategies.functions import Entries, strategy_function


@strategy_function(lookback=2)
def always_long(candles):
    """Enter on every candle."""
    return Entries(entry=candles["close"] > 0, exit=candles["close"] < 0)
'''


class Onetape:
    """Runs `trader --live` of this environment."""

    name = "onetape"

    def __init__(self, commit: str) -> None:
        """Take the commit that is measured."""
        self._commit = commit
        self._urls: dict[Path, str] = {}

    def version(self) -> str:
        """Return the commit that was measured."""
        return self._commit[:10]

    def prepare(self, folder: Path, url: str) -> None:
        """Write the program's files for a simulator at this address."""
        (folder / "always.py").write_text(_STRATEGY, encoding="utf-8")
        # A machine that is busy with several runs starts the strategy's process slowly.
        (folder / "trader.yaml").write_text("strategy_timeout_seconds: 50\n", encoding="utf-8")
        self._urls[folder] = url

    def start(self, folder: Path) -> "subprocess.Popen[bytes]":
        """Start the program, or start it again on the files it left."""
        log = (folder / "trader.log").open("ab")
        keys = {"ONETAPE_API_KEY": "simulator", "ONETAPE_API_SECRET": "simulator"}
        return subprocess.Popen(  # noqa: S603 - our own program
            [
                Path(sys.executable).parent / "trader", "--live", "--exchange", "simulator",
                "--simulator-url", self._urls[folder], "--timeframe", "1m", "--strategy",
                "always.py:always_long", "--stop-loss", "0.1", "--sizing", "quote_amount=1000",
                "--reentry", "while_signal", "--db", "trades.db", "--config", "trader.yaml",
            ],
            cwd=folder,
            stdout=log,
            stderr=log,
            env={**os.environ, **keys},
        )  # fmt: skip

    def known_coins(self, folder: Path) -> Decimal:
        """Return the coins by the executions in the trader's database, without fees in coin."""
        with closing(sqlite3.connect(folder / "trades.db")) as database:
            rows = database.execute("SELECT side, amount FROM trades").fetchall()
        return sum(
            (Decimal(str(amount)) * (1 if side == "buy" else -1) for side, amount in rows),
            Decimal(0),
        )
