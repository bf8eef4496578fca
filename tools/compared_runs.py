"""The commands whose results compare_results.py compares, as data."""

from typing import Final, NamedTuple


class Reference(NamedTuple):
    """A run over a recorded candle file whose result is published in numbers."""

    name: str
    """Name of the run."""
    file: str
    """Name of the candle file."""
    symbol: str
    timeframe: str
    strategy: str
    parameters: tuple[str, ...]
    """Parameters of the strategy, each as `name=value`."""


REFERENCES: Final = (
    Reference(
        *("reference_btc_1d_sma", "binance_BTC-USDT_1d_20170817_20260105.csv.gz", "BTC/USDT", "1d"),
        *("sma_cross", ("fast=20", "slow=50")),
    ),
    Reference(
        *("reference_eth_1d_rsi", "binance_ETH-USDT_1d_20200920_20250918.csv.gz", "ETH/USDT", "1d"),
        *("rsi", ("period=14", "buy=30", "sell=70", "entry=cross_up")),
    ),
    Reference(
        *("reference_btc_1h_sma", "binance_BTC-USDT_1h_20170817_20240421.csv.gz", "BTC/USDT", "1h"),
        *("sma_cross", ("fast=50", "slow=200")),
    ),
    Reference(
        *("reference_eth_1h_macd", "binance_ETH-USDT_1h_20200920_20250919.csv.gz", "ETH/USDT"),
        *("1h", "macd", ("fast=12", "slow=26", "signal=9")),
    ),
)

#: Flags of `backfiller` for the simulated candles that the runs read.
SERIES: Final = (
    (
        *("--exchange", "simulator", "-p", "BTC/USDT", "-p", "ETH/USDT", "-p", "SOL/USDT"),
        *("-t", "1h", "-t", "1d", "--from", "2023-06-01", "--to", "2024-07-01"),
    ),
    (
        *("--exchange", "simulator", "-p", "BTC/USDT", "-p", "ETH/USDT", "-t", "1m"),
        *("--from", "2024-02-25", "--to", "2024-04-01"),
    ),
)

DEMO: Final = ("demo",)

_BASE: Final = ("--exchange", "simulator", "--json")
_HALF: Final = ("--from", "2024-01-01", "--to", "2024-07-01")
_MARCH: Final = ("--from", "2024-03-01", "--to", "2024-04-01")
_SMA: Final = ("-s", "sma_cross", "--param", "fast=24", "--param", "slow=120")
_FAST: Final = ("-s", "ema_cross", "--param", "fast=3", "--param", "slow=8")
_TWO: Final = ("-p", "BTC/USDT", "-p", "ETH/USDT")
_THREE: Final = (*_TWO, "-p", "SOL/USDT")


def _make_run(*flags: str) -> tuple[str, ...]:
    return (*_BASE, *flags)


#: Name, and the arguments of `backtester`.
RUNS: Final = (
    ("default", _make_run(*_HALF)),
    ("sma", _make_run(*_HALF, *_SMA)),
    ("sma_ideal", _make_run(*_HALF, *_SMA, "--trading-rules", "none")),
    ("ema", _make_run(*_HALF, *_FAST)),
    ("macd", _make_run(*_HALF, "-s", "macd")),
    ("bollinger", _make_run(*_HALF, "-s", "bollinger")),
    ("donchian", _make_run(*_HALF, "-s", "donchian")),
    ("buy_and_hold", _make_run(*_HALF, "-s", "buy_and_hold")),
    ("days", _make_run("-t", "1d", "-s", "rsi", "--param", "period=5")),
    ("minutes", _make_run(*_MARCH, "-t", "1m", *_SMA)),
    ("whole_range", _make_run(*_SMA)),
    ("stop_loss", _make_run(*_HALF, *_FAST, "--stop-loss", "0.02")),
    ("stop_and_target", _make_run(*_HALF, *_FAST, "--stop-loss", "0.01", "--take-profit", "0.01")),
    ("trailing", _make_run(*_HALF, *_FAST, "--trailing-stop", "0.03")),
    ("time_stop", _make_run(*_HALF, *_FAST, "--time-stop", "6", "--cooldown", "3")),
    ("target_table", _make_run(*_HALF, *_FAST, "--roi-table", "0=2%,12h=0.5%")),
    (
        "intrabar",
        _make_run(
            *_MARCH,
            *_FAST,
            "--stop-loss",
            "0.005",
            "--take-profit",
            "0.005",
            "--timeframe-detail",
            "1m",
        ),
    ),
    ("costs", _make_run(*_HALF, *_FAST, "--slippage", "5", "--spread-bps", "2", "--fee", "0.002")),
    ("impact", _make_run(*_HALF, *_FAST, "--volume-impact", "0.1", "--fee-currency", "base")),
    ("quote_amount", _make_run(*_HALF, *_FAST, "--sizing", "quote_amount=500")),
    ("base_amount", _make_run(*_HALF, *_FAST, "--sizing", "base_amount=0.05")),
    ("equity_share", _make_run(*_HALF, *_FAST, "--sizing", "equity_share=0.5")),
    (
        "risk",
        _make_run(*_HALF, *_FAST, "--sizing", "risk_per_trade=0.01", "--stop-loss", "0.02"),
    ),
    ("volatility", _make_run(*_HALF, *_FAST, "--sizing", "volatility_target=0.3")),
    ("little_cash", _make_run(*_HALF, *_FAST, "--cash", "12")),
    ("two_symbols", _make_run(*_HALF, *_TWO, *_FAST, "--sizing", "equity_share=0.5")),
    (
        "three_symbols_one_slot",
        _make_run(*_HALF, *_THREE, *_FAST, "--max-open-trades", "1", "--stop-loss", "0.03"),
    ),
    ("three_symbols_all_in", _make_run(*_HALF, *_THREE, *_SMA)),
    ("terminal", (*_BASE[:2], *_HALF, *_SMA, "--no-save", "--no-report")),
    ("check", ("check", *_BASE, *_MARCH, *_SMA)),
    (
        "optimize",
        (
            "optimize",
            *_BASE,
            *_HALF,
            "-s",
            "sma_cross",
            "--param",
            "fast=5:20:5",
            "--param",
            "slow=40:80:20",
        ),
    ),
    (
        "explain",
        ("explain", *_BASE[:2], "--at", "2024-03-05T14:00", *_HALF, *_SMA),
    ),
    ("no_candles", _make_run("--from", "2030-01-01", "--to", "2030-02-01")),
    ("wrong_setting", _make_run(*_HALF, "--stop-loss", "5")),
    ("wrong_strategy", _make_run(*_HALF, "-s", "smacross")),
)
