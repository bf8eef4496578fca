"""All trades of a run as rows, column by column: a million candles may have twenty thousand.

The engine's `Trade` says the same of one of them; a test holds both equal to the last bit.
"""

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from onetape.engine import Result

if TYPE_CHECKING:
    from onetape.strategies import Signals

#: What a trade was left by, where the strategy did not say so.
EXIT_WORDS: Final = {
    "signal": "sell signal",
    "stop_loss": "stop loss",
    "trailing_stop": "trailing stop",
    "target": "target",
    "time_stop": "time stop",
}


def trade_rows(result: Result, signals: "Signals", warm_up: int) -> list[dict[str, Any]]:
    """Return each trade's fields by name, with why it was entered and left, in time order.

    Args:
        result: A run that began without a position.
        signals: What it traded, warm-up included.
        warm_up: Candles before those of the result.
    """
    columns = _columns(result)
    entries = np.asarray(result.book.entry_bars(), dtype=np.int64)
    exits = np.asarray(result.book.exit_bars(), dtype=np.int64)
    # A signal came on the candle before the one that filled it; warm-up candles count too.
    said = _reasons(signals, warm_up + exits - 1)
    left = [
        (text if kind == "signal" else "") or EXIT_WORDS[kind]
        for text, kind in zip(said, result.exit_kinds, strict=True)
    ]
    columns["entry_reason"] = [
        text or "buy signal" for text in _reasons(signals, warm_up + entries - 1)
    ]
    columns["exit_reason"] = [*left, *([""] * (len(entries) - len(exits)))]
    names = tuple(columns)
    return [dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _columns(result: Result) -> dict[str, list[Any]]:
    """Return the fields of `Trade` as columns, in their order."""
    times, book = result.candles.timestamp, result.book
    numbers = book.columns()
    bought, sold = numbers[0::2], numbers[1::2]
    entries = np.asarray(book.entry_bars(), dtype=np.int64)
    exits = np.asarray(book.exit_bars(), dtype=np.int64)
    closed, count = len(exits), len(entries)
    fees = bought[:, 3] * bought[:, 0] if result.rules.fee_coin == "received" else bought[:, 3]
    paid = -bought[:, 4]
    ended, back = np.full(count, len(times)), np.empty(count)
    ended[:closed], back[:closed] = exits, sold[:, 4]
    if count > closed:
        back[closed:] = bought[closed:, 5] * result.candles.close[-1]
    nothing = [None] * (count - closed)
    return {
        "entry_index": entries.tolist(),
        "entry_timestamp": times[entries].tolist(),
        "entry_price": bought[:, 0].tolist(),
        "exit_index": exits.tolist() + nothing,
        "exit_timestamp": times[exits].tolist() + nothing,
        "exit_price": sold[:, 0].tolist() + nothing,
        "amount": bought[:, 1].tolist(),
        "entry_fee": fees.tolist(),
        "exit_fee": sold[:, 3].tolist() + [0.0] * (count - closed),
        "profit": (back - paid).tolist(),
        "profit_ratio": (back / paid - 1.0).tolist(),
        "bars_held": (ended - entries).tolist(),
        "open_at_end": [False] * closed + [True] * (count - closed),
        "exit_kind": [*result.exit_kinds, *nothing],
        "symbol": [result.symbol] * count,
    }


def _reasons(signals: "Signals", bars: NDArray[np.int64]) -> list[str]:
    """Return what the strategy said of some candles; empty where it said nothing."""
    if signals.reason is None:
        return [""] * len(bars)
    # An order of the first candle that is traded has no candle before it.
    codes = np.where(bars >= 0, signals.reason[bars], -128).tolist()
    texts = {code: signals.reason_texts.get(code, "") for code in set(codes)}
    return [texts[code] for code in codes]
