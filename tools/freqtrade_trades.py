# pyright: basic
"""Print the trades of freqtrade strategies, made by freqtrade itself without a network.

    PYTHON_WITH_FREQTRADE tools/freqtrade_trades.py FOLDER < jobs

Each line of the input is a JSON object: strategy, path (folder of its file), pair. FOLDER holds
`PAIR-TIMEFRAME.csv` files (timestamp in seconds, open, high, low, close, volume). Each result is
one line of JSON. compare_freqtrade.py runs this file with an interpreter that has freqtrade, so it
imports no package of Onetape.
"""

import importlib
import json
import logging
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

FEE = 0.001


def make_market(symbol: str) -> dict[str, Any]:
    """Return a market of CCXT with steps that round nothing."""
    base, quote = symbol.split("/")
    step = 1e-8
    limits = {name: {"min": None, "max": None} for name in ("price", "cost", "leverage")}
    return {
        "id": base + quote,
        "symbol": symbol,
        "base": base,
        "quote": quote,
        "info": {},
        "active": True,
        "spot": True,
        "type": "spot",
        "taker": FEE,
        "maker": FEE,
        **dict.fromkeys(("swap", "future", "option", "margin", "contract"), False),
        "linear": None,
        "inverse": None,
        "precision": {"amount": step, "price": step, "base": step, "quote": step},
        "limits": {**limits, "amount": {"min": step, "max": None}},
    }


def write_candles(folder: Path) -> None:
    """Write each CSV file of the folder as freqtrade reads it."""
    pandas = importlib.import_module("pandas")
    for file in folder.glob("*.csv"):
        frame = pandas.read_csv(file)
        frame["date"] = pandas.to_datetime(frame.pop("timestamp"), unit="s", utc=True)
        columns = ["date", "open", "high", "low", "close", "volume"]
        frame[columns].to_feather(file.with_suffix(".feather"))


def make_config(job: dict[str, str], folder: Path) -> dict[str, Any]:
    """Return freqtrade's configuration of one backtest: one pair, one position, market prices."""
    enums = importlib.import_module("freqtrade.enums")
    pricing = {"price_side": "same", "use_order_book": False, "order_book_top": 1}
    return {
        "exchange": {"name": "binance", "pair_whitelist": [job["pair"]], "pair_blacklist": []},
        "pairlists": [{"method": "StaticPairList"}],
        "stake_currency": "USDT",
        "stake_amount": 1_000,
        "max_open_trades": 1,
        "fee": FEE,
        "dry_run": True,
        "dry_run_wallet": 1e9,
        "trading_mode": "spot",
        "margin_mode": "",
        "datadir": folder,
        "user_data_dir": folder,
        "dataformat_ohlcv": "feather",
        "strategy": job["strategy"],
        "strategy_path": job["path"],
        "timerange": None,
        "runmode": enums.RunMode.BACKTEST,
        "candle_type_def": enums.CandleType.SPOT,
        "entry_pricing": pricing,
        "exit_pricing": pricing,
        "export": "none",
        "backtest_cache": "none",
        "exportfilename": folder / "x",
        "exportdirectory": folder,
        "original_config": {},
        "internals": {},
        "enable_protections": False,
    }


def backtest_strategy(job: dict[str, str], folder: Path) -> dict[str, Any]:
    """Return the timeframe of a strategy, and each trade."""
    backtesting = importlib.import_module("freqtrade.optimize.backtesting").Backtesting
    exchange = importlib.import_module("freqtrade.exchange").Exchange
    markets = {job["pair"]: make_market(job["pair"])}

    def set_markets(self: Any, *_: Any, **__: Any) -> None:
        self._markets = markets

    def nothing(*_: Any, **__: Any) -> None:
        return None

    with (
        patch.object(exchange, "reload_markets", set_markets),
        patch.object(exchange, "_load_async_markets", lambda *_, **__: markets),
        patch.object(exchange, "markets", property(lambda _: markets)),
        patch.object(exchange, "validate_config", nothing),
        patch.object(exchange, "additional_exchange_init", nothing),
    ):
        made = backtesting(make_config(job, folder))
        data, timerange = made.load_bt_data()
        strategy = made.strategylist[0]
        made.backtest_one_strategy(strategy, data, timerange)
        rows = made.all_bt_content[strategy.get_strategy_name()]["results"]
    trades = [
        {
            "opened": int(row["open_date"].timestamp()),
            "closed": int(row["close_date"].timestamp()),
            "entry": row["open_rate"],
            "left": row["close_rate"],
            "reason": row["exit_reason"],
            "stop": row["stop_loss_abs"],
            "highest": row["max_rate"],
        }
        for row in rows.to_dict("records")
    ]
    return {"timeframe": strategy.timeframe, "trades": trades}


def main() -> None:
    """Carry out the jobs of the input, one after another."""
    logging.disable(logging.CRITICAL)
    folder = Path(sys.argv[1])
    write_candles(folder)
    for line in sys.stdin:
        job = json.loads(line)
        try:
            found = backtest_strategy(job, folder)
        except (Exception, SystemExit) as error:  # a strategy's own code may raise anything
            found = {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}
        print(json.dumps({"strategy": job["strategy"], **found}), flush=True)


if __name__ == "__main__":
    main()
