"""All trades of a run as `TradeRecord`s, which are computed from columns when they are read.

A million candles may have twenty thousand trades. A test compares each record with the engine's
`Trade`, to the last bit.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, Final, overload

import numpy as np
from numpy.typing import NDArray

from onetape.backtest.models import Backtest, SymbolRun
from onetape.backtest.records import TRADE_COLUMNS, TradeRecord
from onetape.engine import SimulationResult, Trade
from onetape.strategies import Signals

#: Exit reason of a trade for which the strategy gave no reason.
EXIT_TEXTS: Final = {
    "signal": "sell signal",
    "stop_loss": "stop loss",
    "trailing_stop": "trailing stop",
    "target": "target",
    "time_stop": "time stop",
}


#: Number of records that are made at a time, to save memory.
_AT_ONCE: Final = 2_000


class TradeSequence(Sequence[TradeRecord], ABC):
    """Trades in time order.

    Records are made on access, not stored: all of them would take the memory of half the candles.
    """

    @abstractmethod
    def iterate_rows(self, start: int, stop: int) -> Iterator[tuple[Any, ...]]:
        """Yield the fields of the records `[start, stop)`, as TRADE_COLUMNS orders them."""

    @overload
    def __getitem__(self, index: int) -> TradeRecord: ...
    @overload
    def __getitem__(self, index: slice) -> list[TradeRecord]: ...
    def __getitem__(self, index: int | slice) -> TradeRecord | list[TradeRecord]:
        """Return one record, or the records of a slice."""
        if isinstance(index, int):
            number = range(len(self))[index]
            return self._make_records(number, number + 1)[0]
        start, stop, step = index.indices(len(self))
        if step != 1:
            raise ValueError("trades are sliced in their order only")
        return self._make_records(start, max(start, stop))

    def __iter__(self) -> Iterator[TradeRecord]:
        """Yield every record."""
        for start in range(0, len(self), _AT_ONCE):
            yield from self[start : start + _AT_ONCE]

    def _make_records(self, start: int, stop: int) -> list[TradeRecord]:
        return [TradeRecord(*row) for row in self.iterate_rows(start, stop)]


class TradeRows(TradeSequence):
    """All trades of one symbol's run, in time order."""

    def __init__(self, result: SimulationResult, signals: Signals, warm_up: int) -> None:
        """Prepare the columns; no record is made yet.

        Args:
            result: A run that began without a position.
            signals: Signals of the run, warm-up included.
            warm_up: Number of candles before those of the result.
        """
        self._result, self._signals, self._warm_up = result, signals, warm_up
        self._of_each, self._of_closed = _make_columns(result)
        self._kinds = result.exit_kinds

    def __len__(self) -> int:
        """Return the number of trades."""
        return len(self._of_each["entry_index"])

    @property
    def entry_timestamp(self) -> NDArray[np.int64]:
        """Return the time of each entry, epoch seconds."""
        return self._of_each["entry_timestamp"]

    def iterate_rows(self, start: int, stop: int) -> Iterator[tuple[Any, ...]]:
        """Yield the fields of some records."""
        closed = len(self._of_closed["exit_index"])
        nothing = [None] * (stop - max(min(stop, closed), start))
        columns: dict[str, list[Any]] = {
            name: column[start:stop].tolist() for name, column in self._of_each.items()
        }
        for name, column in self._of_closed.items():
            columns[name] = column[start:stop].tolist() + nothing
        kinds = self._kinds[start:stop]
        columns["exit_kind"] = [*kinds, *nothing]
        columns["symbol"] = [self._result.symbol] * (stop - start)
        # The signals include the warm-up candles.
        columns["entry_reason"], exit_reasons = (
            _collect_reasons(
                self._signals,
                self._result.fill_log.find_signal_bars(bars[start:stop]) + self._warm_up,
                otherwise,
            )
            for bars, otherwise in (
                (self._of_each["entry_index"], "buy signal"),
                (self._of_closed["exit_index"], EXIT_TEXTS["signal"]),
            )
        )
        if kinds.count("signal") < len(kinds):
            exits = zip(exit_reasons, kinds, strict=True)
            exit_reasons = [text if kind == "signal" else EXIT_TEXTS[kind] for text, kind in exits]
        columns["exit_reason"] = exit_reasons + [""] * len(nothing)
        return zip(*(columns[name] for name in TRADE_COLUMNS), strict=True)


class JoinedTradeRows(TradeSequence):
    """All trades of several symbols by time of entry, at one moment in the order of the symbols."""

    def __init__(self, runs: Sequence[TradeRows]) -> None:
        """Prepare the order; no record is made yet.

        Args:
            runs: Trades of each symbol.
        """
        self._runs = runs
        times = np.concatenate([rows.entry_timestamp for rows in runs])
        numbers = np.repeat(np.arange(len(runs)), [len(rows) for rows in runs])
        self._number_of = numbers[np.argsort(times, kind="stable")]

    def __len__(self) -> int:
        """Return the number of trades."""
        return len(self._number_of)

    def iterate_rows(self, start: int, stop: int) -> Iterator[tuple[Any, ...]]:
        """Yield the fields of some records."""
        count = len(self._runs)
        firsts = np.bincount(self._number_of[:start], minlength=count).tolist()
        stops = np.bincount(self._number_of[:stop], minlength=count).tolist()
        rows = [
            run.iterate_rows(first, after)
            for run, first, after in zip(self._runs, firsts, stops, strict=True)
        ]
        numbers: list[int] = self._number_of[start:stop].tolist()
        return (next(rows[number]) for number in numbers)


def _make_columns(
    result: SimulationResult,
) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    """Return the fields of `Trade` as columns: those of each trade, and those of closed ones."""
    times, fill_log = result.candles.timestamp, result.fill_log
    numbers = fill_log.get_fill_values()
    bought, sold = numbers[0::2], numbers[1::2]
    entries = np.asarray(fill_log.get_entry_bars(), dtype=np.int64)
    exits = np.asarray(fill_log.get_exit_bars(), dtype=np.int64)
    closed, count = len(exits), len(entries)
    fees = bought[:, 3] * bought[:, 0] if result.rules.fee_currency == "base" else bought[:, 3]
    paid = -bought[:, 4]
    ended, back, exit_fees = np.full(count, len(times)), np.empty(count), np.zeros(count)
    ended[:closed], back[:closed], exit_fees[:closed] = exits, sold[:, 4], sold[:, 3]
    if count > closed:
        back[closed:] = bought[closed:, 5] * result.candles.close[-1]
    of_each = {
        "entry_index": entries,
        "entry_timestamp": times[entries],
        "entry_price": bought[:, 0],
        "amount": bought[:, 1],
        "entry_fee": fees,
        "exit_fee": exit_fees,
        "profit": back - paid,
        "profit_ratio": back / paid - 1.0,
        "bars_held": ended - entries,
        "open_at_end": np.arange(count) >= closed,
    }
    of_closed = {"exit_index": exits, "exit_timestamp": times[exits], "exit_price": sold[:, 0]}
    return of_each, of_closed


def _collect_reasons(signals: Signals, bars: NDArray[np.int64], otherwise: str) -> list[str]:
    """Return the strategy's reasons for some candles; `otherwise` where it gave none."""
    if signals.conditions:
        found = [_describe_reason(signals, bar) if bar >= 0 else "" for bar in bars.tolist()]
        return [text or otherwise for text in found]
    if signals.reason is None:
        return [otherwise] * len(bars)
    # An order that fills on the first traded candle may have no candle before it.
    codes = np.where(bars >= 0, signals.reason[bars], -128).tolist()
    texts = {code: signals.reason_texts.get(code) or otherwise for code in set(codes)}
    return [texts[code] for code in codes]


def make_trade_records(backtest: Backtest) -> Sequence[TradeRecord]:
    """Return all trades by time of entry, at one moment in the order of the symbols."""
    each = [TradeRows(run.result, run.signals, run.window.warm_up) for run in backtest.runs]
    return each[0] if len(each) == 1 else JoinedTradeRows(each)


def describe_entry_reason(run: SymbolRun, trade: Trade) -> str:
    """Return the reason of a trade's entry, as text."""
    return _find_signal_reason(run, trade.entry_index) or "buy signal"


def describe_exit_reason(run: SymbolRun, trade: Trade) -> str:
    """Return the reason of a trade's exit, as text; empty while the trade is open."""
    if trade.exit_index is None or trade.exit_kind is None:
        return ""
    reason = _find_signal_reason(run, trade.exit_index) if trade.exit_kind == "signal" else ""
    return reason or EXIT_TEXTS[trade.exit_kind]


def _find_signal_reason(run: SymbolRun, filled_index: int) -> str:
    """Return the reason that the strategy gave for the signal behind a fill."""
    # The signals have the warm-up candles too.
    filled = np.array([filled_index])
    index = run.window.warm_up + int(run.result.fill_log.find_signal_bars(filled)[0])
    return _describe_reason(run.signals, index) if index >= 0 else ""


def _describe_reason(signals: Signals, index: int) -> str:
    """Return the reason of a candle's signal; without one, the conditions that were met."""
    return signals.get_reason_text(index) or signals.format_met_conditions(index)
