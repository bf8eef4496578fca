"""Numbers and bars in the form of Binance's messages: decimals as strings of 8 digits, times in ms.

A recorded market may have a tick with more than 8 digits; its prices have the digits of the tick.
"""

import json
from collections.abc import Iterator
from typing import Final, cast

import msgspec

from onetape.core.timeframes import Timeframe
from onetape.simulator.market.bars import Bars
from onetape.simulator.market.prng import IntArray
from onetape.simulator.market.symbols import SpotSymbol

JsonValue = object
JsonObject = dict[str, JsonValue]

_encoded: Final = json.JSONEncoder(separators=(",", ":")).encode
_event_encoded: Final = msgspec.json.Encoder().encode
_DIGITS: Final = 8
#: Number of values below which writing each one in Python is faster than NumPy.
_FEW_VALUES: Final = 8


def format_json(value: object) -> str:
    """Return a value as compact JSON."""
    return _encoded(value)


def format_event(event: JsonObject) -> str:
    """Return an event as compact JSON, in a tenth of the time of `format_json`.

    Args:
        event: Texts, integers of 64 bits, booleans and objects of them, as all events of streams
            consist of. Letters beyond ASCII are not escaped, which is the same JSON.
    """
    return _event_encoded(event).decode()


def parse_json(text: str) -> object:
    """Return the value of a JSON text.

    Raises:
        ValueError: the text is no JSON, or nested deeper than Python reads.
    """
    try:
        return cast("object", json.loads(text))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def format_decimal_8(value: int, digits: int) -> str:
    """Return `value * 10**-digits` with 8 digits after the point; further digits are cut off."""
    return format_decimal(value, digits, _DIGITS)


def format_decimal(value: int, digits: int, places: int) -> str:
    """Return `value * 10**-digits` with `places` digits after the point; others are cut off."""
    sign = "-" if value < 0 else ""
    value = abs(value)
    shift = 10 ** abs(places - digits)
    value = value * shift if digits <= places else value // shift
    return f"{sign}{value // 10**places}.{value % 10**places:0{places}d}"


class NumberFormat:
    """Writes the prices, amounts and values of one market."""

    def __init__(self, symbol: SpotSymbol) -> None:
        """Take the digits of this market."""
        self._price_digits = symbol.price_digits
        self._price_places = symbol.price_places
        self._amount_digits = symbol.amount_digits

    def format_price(self, ticks: int) -> str:
        """Return a price given in ticks."""
        return format_decimal(ticks, self._price_digits, self._price_places)

    def format_mean_price(self, hundred_millionths: int) -> str:
        """Return a price given in 10**-8 ticks."""
        return format_decimal(hundred_millionths, self._price_digits + 8, self._price_places)

    def format_amount(self, steps: int) -> str:
        """Return an amount given in steps."""
        return format_decimal_8(steps, self._amount_digits)

    def format_value(self, ticks_times_steps: int) -> str:
        """Return a value in quote currency."""
        return format_decimal_8(ticks_times_steps, self._price_digits + self._amount_digits)


def iterate_kline_rows(
    symbol: SpotSymbol, timeframe: Timeframe, bars: Bars
) -> Iterator[list[JsonValue]]:
    """Yield bars as the rows of `GET /api/v3/klines`."""
    for row in _iterate_kline_cells(symbol, timeframe, bars):
        yield [*row, "0"]


def iterate_kline_texts(symbol: SpotSymbol, timeframe: Timeframe, bars: Bars) -> Iterator[bytes]:
    """Yield bars as the JSON text of the rows of `GET /api/v3/klines`."""
    for t, o, h, low, c, v, ends, q, n, bought, spent in _iterate_kline_cells(
        symbol, timeframe, bars
    ):
        text = f'[{t},"{o}","{h}","{low}","{c}","{v}",{ends},"{q}",{n},"{bought}","{spent}","0"]'
        yield text.encode()


def _iterate_kline_cells(
    symbol: SpotSymbol, timeframe: Timeframe, bars: Bars
) -> Iterator[tuple[int, str, str, str, str, str, int, str, int, str, str]]:
    price, amount, places = symbol.price_digits, symbol.amount_digits, symbol.price_places
    opens = bars.timestamp.tolist()
    if timeframe.is_month:
        ends = [timeframe.next(opened) * 1_000 - 1 for opened in opens]
    else:
        ends = ((bars.timestamp + timeframe.seconds) * 1_000 - 1).tolist()
    return zip(
        (bars.timestamp * 1_000).tolist(),
        _format_decimals(bars.open, price, places),
        _format_decimals(bars.high, price, places),
        _format_decimals(bars.low, price, places),
        _format_decimals(bars.close, price, places),
        _format_decimals(bars.volume, amount),
        ends,
        _format_decimals(bars.quote, price + amount),
        bars.trades.tolist(),
        _format_decimals(bars.buy_volume, amount),
        _format_decimals(bars.buy_quote, price + amount),
        strict=True,
    )


def _format_decimals(values: IntArray, digits: int, places: int = _DIGITS) -> list[str]:
    """Return `format_decimal` of each value; none is negative."""
    if len(values) < _FEW_VALUES:
        return [format_decimal(value, digits, places) for value in values.tolist()]
    if digits > places:
        values, digits = values // 10 ** (digits - places), places
    # Split before scaling: a month's volume with 8 digits more would not fit into 64 bits.
    # Not `divmod`, which takes no Python integers; a value that needs more than 64 bits is one.
    whole, part = values // 10**digits, values % 10**digits * 10 ** (places - digits)
    return [f"{w}.{p:0{places}d}" for w, p in zip(whole.tolist(), part.tolist(), strict=True)]


def iterate_kline_events(
    symbol: SpotSymbol, timeframe: Timeframe, bars: Bars, now_ms: int, *, closed: bool
) -> Iterator[JsonObject]:
    """Yield bars as kline events of a stream.

    Args:
        symbol: The market.
        timeframe: Length of the bars.
        bars: Bars, oldest first.
        now_ms: Event time, epoch milliseconds.
        closed: Whether these bars are final (`x`).
    """
    first_ids = bars.first_id.tolist()
    for row, first_id in zip(iterate_kline_rows(symbol, timeframe, bars), first_ids, strict=True):
        opened, first, high, low, last, volume, ends, quote, trades, bought, spent, rest = row
        yield {
            "e": "kline",
            "E": now_ms,
            "s": symbol.id,
            "k": {
                "t": opened,
                "T": ends,
                "s": symbol.id,
                "i": timeframe.name,
                "f": first_id if trades else -1,
                "L": first_id + cast("int", trades) - 1 if trades else -1,
                "o": first,
                "c": last,
                "h": high,
                "l": low,
                "v": volume,
                "n": trades,
                "x": closed,
                "q": quote,
                "V": bought,
                "Q": spent,
                "B": rest,
            },
        }
