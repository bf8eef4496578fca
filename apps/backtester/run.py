"""One run of the backtester: read, evaluate, simulate, measure, say, draw."""

import time
from pathlib import Path
from typing import Any

from msgspec import Struct

from backtester.check import Look, look_at_run
from backtester.document import print_document, result_document
from backtester.higher import HigherTape, load_higher
from backtester.load import Tape, load_tape, open_tape, wanted_range
from backtester.market_rules import market_rules
from backtester.settings import BacktesterSettings
from backtester.warm_up import run_segments
from onetape.cli.output import print_line, terminal_width
from onetape.cli.settings import USER_FOLDER, database_path
from onetape.core.candles import FloatArray, IntArray, SeriesKey
from onetape.core.digits import Digits
from onetape.core.errors import DataError, UsageError
from onetape.core.market_digits import market_digits
from onetape.core.symbols import base_and_quote, spot_symbol
from onetape.core.timeframes import Timeframe
from onetape.engine import (
    Detail,
    Metrics,
    Portfolio,
    Result,
    Rules,
    exit_rules,
    metrics_of,
    simulate,
)
from onetape.store.database import Store
from onetape.store.reading import has_volume
from onetape.strategies import SignalArray, Signals, Strategy, load_strategy, lookback_of
from onetape.strategies.segments import (
    WHOLE,
    Holes,
    Segment,
    signals_by_segment,
    without_entries_before_holes,
)


class Backtest(Struct, frozen=True):
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
    digits: Digits
    """Decimals that prices, amounts and money of the symbol are shown with."""
    seconds: float
    higher: HigherTape
    """What the strategy saw of larger timeframes."""
    check: Look
    """What the look for look-ahead and short warm-up found."""
    others: "tuple[Backtest, ...]" = ()
    """The other symbols of the account; `metrics` are the account's then."""
    account: Portfolio | None = None
    """What all symbols made together; None: there is one."""
    range_notes: tuple[str, ...] = ()
    """Which of several symbols decided the range."""
    segments: tuple[Segment, ...] = WHOLE
    """Parts of the candles without an unexplained hole; no window crosses from one to another."""

    @property
    def timestamp(self) -> IntArray:
        """Return the moments (epoch seconds) of the run: of all symbols' candles; shape (m,)."""
        account = self.account
        return self.result.candles.timestamp if account is None else account.timestamp

    @property
    def equity(self) -> FloatArray:
        """Return the account's worth at the closes of these moments, quote currency; (m,)."""
        return self.result.equity if self.account is None else self.account.equity


class Part(Struct, frozen=True):
    """One symbol, read and evaluated, before it is traded."""

    settings: BacktesterSettings
    strategy: Strategy
    tape: Tape
    higher: HigherTape
    signals: Signals
    rules: Rules
    market: str
    """How the market's steps were treated, in words."""
    segments: tuple[Segment, ...] = WHOLE
    """Parts of the candles without an unexplained hole."""
    seconds: float = 0.0
    """How long the strategy took to evaluate all candles."""

    @property
    def orders(self) -> SignalArray:
        """Return the signals that are traded; a BUY right before an unexplained hole is not."""
        return without_entries_before_holes(self.signals.signal, Holes(self.tape.holes))


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
    if len(symbols_of(settings)) > 1:
        from backtester.together import backtested_together, together_document

        backtest = backtested_together(settings)
        document = together_document(backtest)
    else:
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
        print_document(document)
    else:
        from backtester.words import result_text

        print_line(result_text(document, width=terminal_width()))


def backtested(settings: BacktesterSettings) -> Backtest:
    """Return the finished run of these settings over one symbol; reads the tables only."""
    began = time.monotonic()
    key = series_key(settings)
    strategy = strategy_of(settings)
    path = database_path(settings.db, settings.exchange)
    with open_tape(path, key, settings) as store:
        part = part_of(settings, store, strategy)
        result = simulate(
            part.tape.candles,
            part.orders,
            part.rules,
            start_index=part.tape.warm_up,
            detail=detail_of(store, part.tape, settings, part.rules),
            has_volume=series_has_volume(store, part.tape),
        )
    return backtest_of(part, path, result, metrics_of(result), began)


def strategy_of(settings: BacktesterSettings) -> Strategy:
    """Return the strategy.

    Raises:
        OnetapeError: it cannot be used, or not with these parameters.
    """
    return load_strategy(
        settings.strategy.name, settings.strategy.parameters, user_folder=USER_FOLDER
    )


def part_of(settings: BacktesterSettings, store: Store, strategy: Strategy) -> Part:
    """Return one symbol, read and evaluated.

    Raises:
        DataError: no closed candle lies in the range, or nothing is stored.
        OnetapeError: as `load_tape` and `signals_by_segment` say.
    """
    key = series_key(settings)
    tape = load_tape(store, key, settings, wanted_range(settings), lookback=lookback_of(strategy))
    if not len(tape.candles) - tape.warm_up:
        raise DataError(f"{key} has no closed candle in the range; choose a longer one")
    higher = load_higher(store, tape, strategy, settings)
    steps, market = market_rules(store, key, settings, tape.candles)
    segments = run_segments(tape, higher, strategy)
    began = time.monotonic()
    signals = signals_by_segment(strategy, tape.candles, higher.candles, segments)
    seconds = time.monotonic() - began
    return Part(
        settings=settings,
        strategy=strategy,
        tape=tape,
        higher=higher,
        signals=signals,
        rules=Rules(**account_rules(settings), steps=steps),
        market=market,
        segments=segments,
        seconds=seconds,
    )


def backtest_of(part: Part, path: Path, result: Result, metrics: Metrics, began: float) -> Backtest:
    """Return the finished run of a part.

    Args:
        part: What was traded.
        path: The database.
        result: What became of it.
        metrics: Of it, or of the account that it shares.
        began: When the run began, by `time.monotonic`.
    """
    tape = part.tape
    return Backtest(
        settings=part.settings,
        database=path,
        strategy=part.strategy,
        tape=tape,
        signals=part.signals,
        result=result,
        metrics=metrics,
        market=part.market,
        digits=market_digits(
            result.rules.steps,
            result.candles,
            base_and_quote(tape.key.symbol)[1],
            result.rules.cash,
        ),
        higher=part.higher,
        check=look_at_run(
            part.settings, tape, part.higher.candles, part.segments, part.signals, part.seconds
        ),
        segments=part.segments,
        seconds=round(time.monotonic() - began, 3),
    )


def series_key(settings: BacktesterSettings) -> SeriesKey:
    """Return the series of a run.

    Raises:
        UsageError: symbol or timeframe is none.
    """
    symbols = symbols_of(settings)
    if len(symbols) != 1:
        raise UsageError(f"this takes one symbol, found {', '.join(symbols) or 'none'}")
    return SeriesKey(
        settings.exchange, spot_symbol(symbols[0]), Timeframe.parse(settings.timeframe).name
    )


def symbols_of(settings: BacktesterSettings) -> list[str]:
    """Return the symbols of a run in the order given."""
    return [symbol.strip() for symbol in settings.symbol.split(",") if symbol.strip()]


def detail_of(
    store: Store, tape: Tape, settings: BacktesterSettings, rules: Rules
) -> Detail | None:
    """Return the reader of finer candles, or None where none are asked for or needed.

    Raises:
        UsageError: the traded candles are not made of whole ones of that timeframe.
        DataError: none is stored in the range.
    """
    if settings.detail_timeframe is None:
        return None
    # Most runs ask none, and shall not wait for it.
    from backtester.detail import detail_from

    return detail_from(store, tape, settings, rules)


def series_has_volume(store: Store, tape: Tape) -> bool:
    """Return whether any stored candle of the series has volume; most runs see it in their own."""
    volume = tape.candles.volume
    return bool(volume[-1:].any() or volume.any()) or has_volume(store, tape.key)


def account_rules(settings: BacktesterSettings) -> dict[str, Any]:
    """Return the settings of account and exits under the names of the engine's rules."""
    account, exits = settings.account, settings.exits
    values = {field: getattr(account, field) for field in account.__struct_fields__}
    given = {field: getattr(exits, field) for field in exits.__struct_fields__}
    return {**values, "exits": exit_rules(given)}
