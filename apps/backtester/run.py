"""One run of the backtester: read, evaluate, simulate, measure, say, draw."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from backtester.check import check_command, sampled_text
from backtester.document import result_document
from backtester.higher import HigherTape, load_higher
from backtester.load import Tape, load_tape, open_tape, wanted_range
from backtester.settings import BacktesterSettings
from onetape.cli.output import print_line
from onetape.cli.settings import USER_FOLDER, database_path
from onetape.core.candles import SeriesKey
from onetape.core.errors import ConfigurationError, DataError
from onetape.core.steps import IDEAL_MARKET, MarketSteps
from onetape.core.symbols import spot_symbol
from onetape.core.timeframes import Timeframe
from onetape.core.words import did_you_mean
from onetape.engine import Metrics, Result, Rules, exit_rules, metrics_of, simulate
from onetape.store.database import Store
from onetape.store.market_data import market_steps
from onetape.strategies import Signals, Strategy, checked_signals, load_strategy, lookback_of

MARKETS = ("exchange", "ideal")


@dataclass(frozen=True)
class Backtest:
    """A finished run and all that it rests on."""

    settings: BacktesterSettings
    database: Path
    strategy: Strategy
    tape: Tape
    signals: Signals
    """Of the whole tape, warm-up included."""
    result: Result
    metrics: Metrics
    market: str
    """How the market's steps were treated, in words."""
    seconds: float
    higher: HigherTape
    """What the strategy saw of larger timeframes."""
    check: str
    """What the look for look-ahead and short warm-up said."""


def run_backtest(
    settings: BacktesterSettings, *, as_json: bool, with_report: bool, keep: bool | None = None
) -> None:
    """Run a backtest, keep it with its report, and print the result.

    Args:
        settings: What to run.
        as_json: Print one document.
        with_report: Whether a report may be written.
        keep: Whether the run gets a folder; None: unless as_json.

    Raises:
        OnetapeError: as its class says; nothing is written then.
    """
    backtest = backtested(settings)
    document = result_document(backtest)
    keep = not as_json if keep is None else keep
    if settings.report is not None and with_report:
        document["report"] = str(settings.report)
        # The report is on no path that has to be fast.
        from backtester.report_data import write_backtest_report

        write_backtest_report(backtest, settings.report)
    if keep:
        from backtester.keep import keep_run

        keep_run(backtest, document, with_report=with_report and settings.report is None)
    if as_json:
        # Python's own writer takes seconds for the trades of a million candles.
        encoded = msgspec.json.encode(document, enc_hook=str)
        print_line(msgspec.json.format(encoded, indent=2).decode("utf-8"))
    else:
        from backtester.words import result_text

        print_line(result_text(document))


def backtested(settings: BacktesterSettings) -> Backtest:
    """Return the finished run of these settings; reads the tables only."""
    began = time.monotonic()
    key = series_key(settings)
    wanted = wanted_range(settings)
    strategy = load_strategy(
        settings.strategy.name, settings.strategy.parameters, user_folder=USER_FOLDER
    )
    # Rules are checked before the tape is read: a wrong fee should not take a second to notice.
    Rules(**account_rules(settings), steps=IDEAL_MARKET)
    path = database_path(settings.db, settings.exchange)
    with open_tape(path, key, settings) as store:
        tape = load_tape(store, key, settings, wanted, lookback=lookback_of(strategy))
        higher = load_higher(store, tape, strategy, settings)
        steps, market = market_rules(store, key, settings)
    rules = Rules(**account_rules(settings), steps=steps)
    if not len(tape.candles) - tape.warm_up:
        raise DataError(f"{key} has no closed candle in the range; choose a longer one")
    signals = checked_signals(strategy, tape.candles, higher.candles)
    result = simulate(tape.candles, signals.signal, rules, start_index=tape.warm_up)
    return Backtest(
        settings=settings,
        database=path,
        strategy=strategy,
        tape=tape,
        signals=signals,
        result=result,
        metrics=metrics_of(result),
        market=market,
        higher=higher,
        check=_check(settings, tape, higher, signals),
        seconds=round(time.monotonic() - began, 3),
    )


def _check(settings: BacktesterSettings, tape: Tape, higher: HigherTape, signals: Signals) -> str:
    if not settings.check:
        return f"not run; run: {check_command(settings)}"
    return sampled_text(settings, tape.candles, higher.candles, tape.warm_up, signals)


def series_key(settings: BacktesterSettings) -> SeriesKey:
    """Return the series of a run.

    Raises:
        UsageError: symbol or timeframe is none.
        ConfigurationError: nor is the kind of market.
    """
    if settings.market not in MARKETS:
        hint = did_you_mean(settings.market, MARKETS)
        raise ConfigurationError(
            f"market must be one of {', '.join(MARKETS)}, found {settings.market!r}{hint}"
        )
    return SeriesKey(
        settings.exchange, spot_symbol(settings.symbol), Timeframe.parse(settings.timeframe).name
    )


def account_rules(settings: BacktesterSettings) -> dict[str, Any]:
    """Return the settings of account and exits under the names of the engine's rules."""
    account, exits = settings.account, settings.exits
    values = {field: getattr(account, field) for field in account.__struct_fields__}
    given = {field: getattr(exits, field) for field in exits.__struct_fields__}
    return {**values, "exits": exit_rules(given)}


def market_rules(
    store: Store, key: SeriesKey, settings: BacktesterSettings
) -> tuple[MarketSteps, str]:
    """Return the market's steps, and in words how they are treated."""
    if settings.market == "ideal":
        return IDEAL_MARKET, "ideal (no steps, no minimum)"
    steps = market_steps(store, key.exchange, key.symbol)
    if steps is None:
        return IDEAL_MARKET, f"ideal, because the steps of {key.exchange} are not stored"
    return steps, (
        f"steps of {key.exchange}: price {steps.price_step or 'any'}, "
        f"amount {steps.amount_step or 'any'}, least order {steps.min_notional}"
    )
