"""Read the market that buy and hold holds, where it is not the traded one."""

from msgspec.structs import replace

from onetape.backtest.candle_windows import load_window
from onetape.backtest.config import BacktestConfig
from onetape.backtest.models import BenchmarkMarket, CandleWindow
from onetape.backtest.trading_rules import load_trading_rules
from onetape.core.candles import SeriesKey
from onetape.core.errors import DataError
from onetape.store.database import Store


def load_benchmark(
    store: Store, config: BacktestConfig, symbol: str, window: CandleWindow
) -> BenchmarkMarket:
    """Return the benchmark's candles of the range of a run, with the costs of its account.

    Args:
        store: The open database.
        config: Configuration of the run.
        symbol: Symbol of the benchmark.
        window: Candles of a traded symbol, whose range is that of the run.

    Raises:
        DataError: nothing is stored of the symbol in the range; the text has the command that
            fetches it.
        CandleGapError: candles are missing in the range for an unknown reason.
    """
    key = SeriesKey(config.exchange, symbol, config.timeframe)
    benchmark_config = replace(
        config,
        symbols=(symbol,),
        own_strategies={},
        benchmark=None,
        start=window.start,
        end=window.end,
    )
    try:
        held = load_window(store, key, benchmark_config, lookback=0)
    except DataError as error:
        raise type(error)(f"benchmark: {error}") from error
    trading_rules, _ = load_trading_rules(store, key, benchmark_config, held.candles)
    return BenchmarkMarket(
        symbol, held.candles[held.warm_up :], replace(config.account, trading_rules=trading_rules)
    )
