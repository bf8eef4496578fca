"""The quick bias check that runs with every backtest, as a `BiasCheck` record.

`full_check.py` checks every bar (`backtester check`).
"""

import shlex
from collections.abc import Callable, Sequence

from onetape.backtest.config import FRAME_EXCHANGE, BacktestConfig, ClassChoice
from onetape.backtest.models import CandleWindow
from onetape.backtest.records import BiasCheck
from onetape.core.clock import format_day
from onetape.core.defaults import DEFAULT_EXCHANGE, DEFAULT_SYMBOL, DEFAULT_TIMEFRAME
from onetape.strategies import Higher, Signals, Strategy
from onetape.strategies.output_capture import discard_stderr
from onetape.strategies.segments import WHOLE, Segment


def make_strategy_factory(config: BacktestConfig) -> Callable[[], Strategy]:
    """Return a function that makes a new instance of the strategy, executing a user's file again.

    What the file prints is discarded, because the backtest has shown it already.
    """

    def make() -> Strategy:
        with discard_stderr():
            return config.strategy.load()

    return make


def check_run(
    config: BacktestConfig,
    window: CandleWindow,
    higher: Higher,
    segments: Sequence[Segment],
    signals: Signals,
    seconds: float = 0.0,
) -> BiasCheck:
    """Return the bias check of a finished run, within the time budget of a backtest.

    Args:
        config: Configuration of the run of one symbol.
        window: Candles of the run.
        higher: Higher-timeframe candles of the run.
        segments: Segments of the candles.
        signals: Signals of all candles.
        seconds: Duration of the evaluation of all candles, seconds; 0 where it is not known.
    """
    if not config.check:
        return BiasCheck.make_not_run(f"not run; run: {format_check_command(config)}")
    from onetape.strategies.check_data import CheckData
    from onetape.strategies.sampled_check import format_quick_check, run_quick_check

    # The evaluation of a segment has checked its candles; a segment that is shorter than its
    # warm-up was not evaluated.
    are_known_sound = tuple(segments) == WHOLE
    data = CheckData(window.candles, higher, window.warm_up, tuple(segments), are_known_sound)
    if not len(data):
        return BiasCheck.make_not_run(
            "not run: no bar is decided on, because no warm-up behind a gap is full"
        )
    make = make_strategy_factory(config)
    result = run_quick_check(make, data, signals.signal, seconds, signals.level_columns)
    first = result.worst
    return BiasCheck(
        text=format_quick_check(result, format_check_command(config)),
        clean=result.is_clean,
        bars_checked=result.checked,
        bars=result.bars,
        differing=len({*result.differing, *result.failing}),
        first_bad_bar=None if first is None else first.timestamp,
        kind=None if first is None else first.kind,
    )


def format_check_command(config: BacktestConfig) -> str:
    """Return the command that checks every bar of a run of one symbol."""
    if config.exchange == FRAME_EXCHANGE:
        return "uv run backtester check -s FILE.py:NAME, with the strategy in a file"
    start, end = (
        None if moment is None else format_day(moment).replace(" ", "T")
        for moment in (config.start, config.end)
    )
    parts = ["uv run backtester check"]
    for flag, value, default in (
        ("--exchange", config.exchange, DEFAULT_EXCHANGE),
        ("--symbol", config.symbols[0], DEFAULT_SYMBOL),
        ("--timeframe", config.timeframe, DEFAULT_TIMEFRAME),
        ("--from", start, None),
        ("--to", end, None),
        ("--db", config.db_flag, None),
    ):
        if value != default:
            parts += [flag, shlex.quote(str(value))]
    strategy = config.strategy.name
    if isinstance(config.strategy, ClassChoice) and ".py:" not in strategy:
        strategy = f"FILE.py:{strategy}"  # a notebook's strategy can be checked from a file
    parts += ["--strategy", shlex.quote(strategy)]
    for name, text in config.strategy.parameters.items():
        parts += ["--param", shlex.quote(f"{name}={text}")]
    if config.allow_gaps:
        parts.append("--allow-gaps")
    return " ".join(parts)
