"""`ot.load_candles`: candles for a backtest in Python, from the store or fetched into it first."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from onetape.backtest.candle_windows import load_window, open_run_database
from onetape.backtest.config import BacktestConfig, StrategyChoice
from onetape.backtest.python_times import convert_moment
from onetape.backtest.trading_rules import load_trading_rules
from onetape.core.candles import Candles, SeriesKey
from onetape.core.clock import format_day, format_utc
from onetape.core.errors import (
    ConfigurationError,
    DataError,
    ExchangeError,
    OnetapeError,
    UsageError,
)
from onetape.core.folders import choose_database_path
from onetape.core.symbols import parse_spot_symbol
from onetape.core.timeframes import Timeframe
from onetape.engine import AccountConfig

if TYPE_CHECKING:
    import pandas as pd


class StoredCandles(Struct, frozen=True):
    """Closed candles of one symbol from the store, with the data that a backtest needs."""

    key: SeriesKey
    """Exchange, symbol and timeframe."""
    candles: Candles
    """Closed candles, oldest first."""
    start: int
    """First moment of the range, epoch seconds."""
    end: int
    """End of the range, epoch seconds, exclusive."""
    database: Path
    """Database file that the candles were read from."""
    db_flag: Path | None
    """Database file as it was named; None: the default."""
    trading_rules: str
    """Description of the trading rules of the market, for output."""
    gaps: tuple[tuple[int, int], ...]
    """Ranges (epoch seconds, half-open) whose candles are missing for an unknown reason."""
    allow_gaps: bool
    """Whether candles may be missing for an unknown reason."""

    @property
    def frame(self) -> "pd.DataFrame":
        """Candles as a DataFrame, indexed by their open (UTC)."""
        return self.candles.frame()

    def __len__(self) -> int:
        """Return the number of candles."""
        return len(self.candles)

    def __repr__(self) -> str:
        """Return series, number of candles and range in one line."""
        return (
            f"{self.key}: {len(self.candles):,} candles, {format_day(self.start)} to "
            f"{format_day(self.end)} UTC"
        )


def load_candles(
    symbol: str,
    timeframe: str,
    *,
    exchange: str = "binance",
    start: Any = None,
    end: Any = None,
    db: str | Path | None = None,
    allow_gaps: bool = False,
    download: bool = False,
) -> StoredCandles:
    """Return the stored candles of one symbol.

    Args:
        symbol: CCXT spot symbol.
        timeframe: CCXT timeframe.
        exchange: CCXT exchange id, or `simulator`.
        start: First day or moment, UTC; None: the first stored candle.
        end: End of the range, exclusive, UTC; None: after the newest stored candle.
        db: Database file; None: data/onetape.db, or data/simulator.db for the simulator.
        allow_gaps: Whether candles may be missing for an unknown reason.
        download: Whether to fetch missing candles first, with the backfiller.

    Raises:
        UsageError: an argument is invalid.
        DataError: nothing is stored in the range.
        CandleGapError: candles are missing for an unknown reason, and gaps are not allowed.
        OnetapeError: candles cannot be fetched: the class and the text are those of the backfiller,
            such as ExchangeError where the exchange cannot be reached.
    """
    db_flag = None if db is None else Path(db)
    config = BacktestConfig(
        exchange=exchange,
        symbols=(parse_spot_symbol(symbol),),
        timeframe=Timeframe.parse(timeframe).name,
        start=None if start is None else convert_moment(start, "start"),
        end=None if end is None else convert_moment(end, "end"),
        # No strategy is run here.
        strategy=StrategyChoice("buy_and_hold", {}),
        account=AccountConfig(),
        allow_gaps=allow_gaps,
        database=choose_database_path(db_flag, exchange),
        db_flag=db_flag,
    )
    if download:
        _fetch_with_backfiller(config)
    with open_run_database(config) as store:
        window = load_window(store, config.key, config, lookback=0)
        market = load_trading_rules(store, config.key, config, window.candles)[1]
    inside = window.candles[window.warm_up :]
    gaps = tuple((gap.start, gap.end) for gap in window.gaps if gap.at > window.warm_up)
    return StoredCandles(
        key=config.key,
        candles=inside,
        start=window.start,
        end=window.end,
        database=config.database,
        db_flag=db_flag,
        trading_rules=market,
        gaps=gaps,
        allow_gaps=allow_gaps,
    )


def _fetch_with_backfiller(config: BacktestConfig) -> None:
    """Fetch the candles of a range with the backfiller, in a separate process.

    Candles that are still missing then (exit code 4) raise no error here; reading reports them.

    Raises:
        ConfigurationError: the backfiller is not installed.
        OnetapeError: the backfiller failed; its exit code decides the class, its last line is the
            text.
    """
    import shutil
    import subprocess
    import sys

    installed = Path(sys.executable).with_name("backfiller")
    program = str(installed) if installed.exists() else shutil.which("backfiller")
    if program is None:
        raise ConfigurationError("download=True needs the backfiller; install onetape-backfiller")
    arguments: list[str] = ["--exchange", config.exchange, "--symbol", config.symbols[0]]
    arguments += ["--timeframe", config.timeframe, "--db", str(config.database)]
    for flag, moment in (("--from", config.start), ("--to", config.end)):
        if moment is not None:
            arguments += [flag, format_utc(moment).replace(" ", "T")]
    done = subprocess.run(  # noqa: S603 - our own program, without a shell
        [program, *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode not in (0, DataError.exit_code):
        lines: Sequence[str] = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        kinds = {kind.exit_code: kind for kind in (UsageError, ConfigurationError, ExchangeError)}
        kind = kinds.get(done.returncode, OnetapeError)
        raise kind(f"the candles cannot be fetched: {lines[-1].removeprefix('backfiller: ')}")
