"""freqtrade in live mode: its defaults, the simulator's addresses, and an always-long strategy."""

import json
import os
import sqlite3
import subprocess
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

_STRATEGY: Final = """
from freqtrade.strategy import IStrategy


class AlwaysLong(IStrategy):
    timeframe = "1m"
    minimal_roi = {"0": 10}
    stoploss = -0.1
    startup_candle_count = 5
    process_only_new_candles = False
    order_types = {
        "entry": "market", "exit": "market", "stoploss": "limit", "stoploss_on_exchange": True,
    }

    def populate_indicators(self, dataframe, metadata):
        return dataframe

    def populate_entry_trend(self, dataframe, metadata):
        dataframe["enter_long"] = 1
        return dataframe

    def populate_exit_trend(self, dataframe, metadata):
        dataframe["exit_long"] = 0
        return dataframe
"""


class Freqtrade:
    """Runs freqtrade from a separate environment."""

    name = "freqtrade"

    def __init__(self, program: Path) -> None:
        """Take the path of the `freqtrade` command."""
        self._program = program

    def version(self) -> str:
        """Return the program's version."""
        done = subprocess.run(  # noqa: S603 - a path that was given
            [self._program.parent / "python", "-c", "import freqtrade as f; print(f.__version__)"],
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    def prepare(self, folder: Path, url: str) -> None:
        """Write the program's files for a simulator at this address."""
        strategies = folder / "user_data" / "strategies"
        strategies.mkdir(parents=True)
        (strategies / "always_long.py").write_text(_STRATEGY, encoding="utf-8")
        (folder / "config.json").write_text(
            json.dumps(_make_config(url), indent=1), encoding="utf-8"
        )

    def start(self, folder: Path) -> "subprocess.Popen[bytes]":
        """Start the program, or start it again on the files it left."""
        log = (folder / "freqtrade.log").open("ab")
        return subprocess.Popen(  # noqa: S603 - a path that was given
            [
                self._program, "trade", "--config", "config.json", "--strategy", "AlwaysLong",
                "--userdir", "user_data", "--db-url", "sqlite:///trades.sqlite",
            ],
            cwd=folder,
            stdout=log,
            stderr=log,
            env={**os.environ, "HOME": str(folder)},
        )  # fmt: skip

    def known_coins(self, folder: Path) -> Decimal:
        """Return the number of coins in the open trades of freqtrade's database."""
        with closing(sqlite3.connect(folder / "trades.sqlite")) as database:
            # A trade whose entry order has no fill yet holds no coins, although it has an amount.
            rows = database.execute(
                "SELECT coalesce(sum(o.filled), 0) FROM orders o JOIN trades t"
                " ON t.id = o.ft_trade_id WHERE t.is_open AND o.ft_order_side = 'buy'"
            ).fetchone()
        return Decimal(str(rows[0]))


def _make_config(url: str) -> dict[str, Any]:
    host = urlsplit(url).netloc
    urls = {
        "public": f"http://{host}/api/v3",
        "private": f"http://{host}/api/v3",
        "v1": f"http://{host}/api/v1",
        "sapi": f"http://{host}/sapi/v1",
        "sapiV2": f"http://{host}/sapi/v2",
        "sapiV3": f"http://{host}/sapi/v3",
        "ws": {"spot": f"ws://{host}/stream/ws", "ws-api": {"spot": f"ws://{host}/ws-api/v3"}},
    }
    # Futures are on another server of Binance, which the simulator is not.
    options = {"fetchMarkets": {"types": ["spot"]}}
    return {
        "trading_mode": "spot",
        "max_open_trades": 1,
        "stake_currency": "USDT",
        "stake_amount": 1_000,
        "dry_run": False,
        "initial_state": "running",
        "entry_pricing": {"price_side": "other"},
        "exit_pricing": {"price_side": "other"},
        "exchange": {
            "name": "binance",
            "key": "simulator",
            "secret": "simulator",
            "pair_whitelist": ["BTC/USDT"],
            "ccxt_config": {"urls": {"api": urls}, "options": options},
        },
        "pairlists": [{"method": "StaticPairList"}],
    }
