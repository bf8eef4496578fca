"""Fault `candles`: invalid or changed rows of `GET /api/v3/klines` and kline events of a stream.

The shape of the fault is one of `kinds.CANDLE_SHAPES`, such as "nan".
"""

from random import Random
from typing import Any, Final

from onetape.simulator.faults.durations import parse_moment_ms
from onetape.simulator.faults.registry import Firing
from onetape.simulator.server.wire import JsonObject, JsonValue

#: Columns of a row, and the names of the same values in an event.
_TIME, _OPEN, _HIGH, _LOW, _CLOSE = range(5)
_EVENT_KEYS: Final = ("t", "o", "h", "l", "c")
Row = list[JsonValue]


def choose_rows(firing: Firing, opens_ms: list[int]) -> list[int]:
    """Return the row numbers of the candles that a fault spoils.

    Args:
        firing: The fault; without `candle_from` one row is drawn.
        opens_ms: Opens of the page's candles, epoch milliseconds.
    """
    fault = firing.fault
    if fault.candle_from is None and fault.candle_to is None:
        # Not the last row of a page: it is forming, and a client fetches it again anyway.
        count = max(len(opens_ms) - 1, min(len(opens_ms), 1))
        return [firing.random.randrange(count)] if count else []
    first = 0 if fault.candle_from is None else parse_moment_ms(fault.candle_from, firing.added_ms)
    end = 1 << 62
    if fault.candle_to is not None:
        end = parse_moment_ms(fault.candle_to, firing.added_ms)
    elif fault.candle_from is not None:
        fitting = [opened for opened in opens_ms if opened >= first]
        end = min(fitting, default=first) + 1
    return [number for number, opened in enumerate(opens_ms) if first <= opened < end]


def spoil_rows(firing: Firing, rows: list[Row]) -> list[Row]:
    """Return the rows of a page with some of them spoiled."""
    opens = [int(str(row[_TIME])) for row in rows]
    chosen = set(choose_rows(firing, opens))
    shape = firing.fault.variant
    spoiled: list[Row] = []
    for number, row in enumerate(rows):
        if number not in chosen:
            spoiled.append(row)
        elif shape == "duplicate":
            spoiled += [row, list(row)]
        elif shape == "reordered":
            spoiled.insert(max(len(spoiled) - 1, 0), row)
        elif shape != "missing":
            values = spoil_values(shape, row[: _CLOSE + 1], firing.random)
            spoiled.append([*values, *row[_CLOSE + 1 :]])
    return spoiled


def spoil_event(firing: Firing, event: JsonObject) -> JsonObject:
    """Return a kline event with its candle spoiled.

    Shapes that change the order or number of events ("duplicate", "reordered", "missing") are
    carried out by `injector.FaultInjector` instead.
    """
    candle: Any = event["k"]
    values = spoil_values(
        firing.fault.variant, [candle[name] for name in _EVENT_KEYS], firing.random
    )
    return {**event, "k": {**candle, **dict(zip(_EVENT_KEYS, values, strict=True))}}


def spoil_values(shape: str, values: Row, random: Random) -> Row:
    """Return open time (milliseconds), open, high, low and close, spoiled by a shape."""
    time_ms = int(str(values[_TIME]))
    times: dict[str, JsonValue] = {
        "time_none": None,
        "time_seconds": time_ms // 1_000,
        "time_huge": 2**50,
        "time_negative": -time_ms,
        "time_off_grid": time_ms + 1_234,
    }
    if shape in times:
        return [times[shape], *values[1:]]
    prices = [float(str(value)) for value in values[1:]]
    close_texts = {
        "nan": "NaN", "infinity": "Infinity", "overflow": "1e400", "zero": "0.00000000",
        "none": None,
    }  # fmt: skip
    if shape in close_texts:
        return [time_ms, *values[1:_CLOSE], close_texts[shape]]
    if shape == "negative":
        return [time_ms, *values[1:_CLOSE], _format_price(-prices[3])]
    if shape == "high_below_low":
        return [time_ms, values[1], values[3], values[2], values[4]]
    if shape == "close_outside":
        return [time_ms, *values[1:_CLOSE], _format_price(prices[1] * 2)]
    # The last shape, "revised": other valid values, so that a test sees that they changed.
    factor = 1 + (random.random() - 0.5) / 50
    return [time_ms, *(_format_price(price * factor) for price in prices)]


def _format_price(price: float) -> str:
    return f"{price:.8f}"
