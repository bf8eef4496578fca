"""All trades of a run as rows, column by column: a million candles may have twenty thousand.

The engine's `Trade` says the same of one of them; a test holds both equal to the last bit.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, overload

import msgspec
import numpy as np
from numpy.typing import NDArray

from onetape.engine import Result, Trade

if TYPE_CHECKING:
    from onetape.strategies import Signals

TRADE_FIELDS: Final = Trade.__struct_fields__
#: What a row has of each trade, in a document and in trades.csv.
TRADE_COLUMNS: Final = (*TRADE_FIELDS, "entry_reason", "exit_reason")
#: What a trade was left by, where the strategy did not say so.
EXIT_WORDS: Final = {
    "signal": "sell signal",
    "stop_loss": "stop loss",
    "trailing_stop": "trailing stop",
    "target": "target",
    "time_stop": "time stop",
}


_Record: Final = msgspec.defstruct("TradeRecord", TRADE_COLUMNS, frozen=True, gc=False)
#: Rows that are made at a time: all at once would take the memory of half the candles.
_AT_ONCE: Final = 2_000
_Rows = list[dict[str, Any]]


class TradeRows(Sequence[dict[str, Any]]):
    """Each trade's fields by name, with why it was entered and left, in time order.

    Rows are made when they are asked for, and not kept.
    """

    def __init__(self, result: Result, signals: "Signals", warm_up: int) -> None:
        """Look at a run.

        Args:
            result: A run that began without a position.
            signals: What it traded, warm-up included.
            warm_up: Candles before those of the result.
        """
        self._result, self._signals, self._warm_up = result, signals, warm_up
        self._of_each, self._of_closed = _columns(result)
        self._kinds = result.exit_kinds

    def __len__(self) -> int:
        """Return how many trades there are."""
        return len(self._of_each["entry_index"])

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> _Rows: ...
    def __getitem__(self, index: int | slice) -> dict[str, Any] | _Rows:
        """Return one row, or the rows of a slice."""
        if isinstance(index, int):
            number = range(len(self))[index]
            return self._rows(number, number + 1)[0]
        start, stop, step = index.indices(len(self))
        if step != 1:
            raise ValueError("rows of trades are sliced in their order only")
        return self._rows(start, max(start, stop))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield every row."""
        for start in range(0, len(self), _AT_ONCE):
            yield from self[start : start + _AT_ONCE]

    def records(self, start: int, stop: int) -> list[msgspec.Struct]:
        """Return some rows as JSON wants them: made and encoded in half the time of a dict."""
        return [_Record(*row) for row in self._values(start, min(stop, len(self)))]

    def _rows(self, start: int, stop: int) -> _Rows:
        return [dict(zip(TRADE_COLUMNS, row, strict=True)) for row in self._values(start, stop)]

    def _values(self, start: int, stop: int) -> Iterator[tuple[Any, ...]]:
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
        # Warm-up candles count too.
        entered, left = (
            _reasons(self._signals, self._result.book.signal_bars(bars[start:stop]) + self._warm_up)
            for bars in (self._of_each["entry_index"], self._of_closed["exit_index"])
        )
        columns["entry_reason"] = [text or "buy signal" for text in entered]
        columns["exit_reason"] = [
            *(
                (text if kind == "signal" else "") or EXIT_WORDS[kind]
                for text, kind in zip(left, kinds, strict=True)
            ),
            *([""] * len(nothing)),
        ]
        return zip(*(columns[name] for name in TRADE_COLUMNS), strict=True)


def _columns(result: Result) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    """Return the fields of `Trade` as columns: those of each trade, and those of closed ones."""
    times, book = result.candles.timestamp, result.book
    numbers = book.columns()
    bought, sold = numbers[0::2], numbers[1::2]
    entries = np.asarray(book.entry_bars(), dtype=np.int64)
    exits = np.asarray(book.exit_bars(), dtype=np.int64)
    closed, count = len(exits), len(entries)
    fees = bought[:, 3] * bought[:, 0] if result.rules.fee_coin == "received" else bought[:, 3]
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


def _reasons(signals: "Signals", bars: NDArray[np.int64]) -> list[str]:
    """Return what the strategy said of some candles; empty where it said nothing."""
    if signals.reason is None:
        return [""] * len(bars)
    # An order of the first candle that is traded has no candle before it.
    codes = np.where(bars >= 0, signals.reason[bars], -128).tolist()
    texts = {code: signals.reason_texts.get(code, "") for code in set(codes)}
    return [texts[code] for code in codes]
