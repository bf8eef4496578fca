"""How numbers and bars look in Binance's messages: decimals as strings of 8 digits, times in ms.

Prices of a market whose tick is finer than that, which only recorded files have, are written with
the digits of the tick.
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
#: Of fewer values than this, Python writes each one sooner than NumPy splits the column.
_FEW: Final = 8


def json_text(value: object) -> str:
    """Return a value as compact JSON."""
    return _encoded(value)


def event_text(event: JsonObject) -> str:
    """Return an event as compact JSON, in a tenth of the time of `json_text`.

    Args:
        event: Texts, integers of 64 bits, booleans and objects of them, as all events of streams
            consist of. Letters beyond ASCII are not escaped, which is the same JSON.
    """
    return _event_encoded(event).decode()


def json_value(text: str) -> object:
    """Return the value of a JSON text.

    Raises:
        ValueError: the text is no JSON, or nested deeper than Python reads.
    """
    try:
        return cast("object", json.loads(text))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def decimal_8(value: int, digits: int) -> str:
    """Return `value * 10**-digits` with 8 digits after the point; further digits are cut off."""
    return decimal_text(value, digits, _DIGITS)


def decimal_text(value: int, digits: int, places: int) -> str:
    """Return `value * 10**-digits` with `places` digits after the point; others are cut off."""
    sign = "-" if value < 0 else ""
    value = abs(value)
    shift = 10 ** abs(places - digits)
    value = value * shift if digits <= places else value // shift
    return f"{sign}{value // 10**places}.{value % 10**places:0{places}d}"


class Texts:
    """Writes the prices, amounts and values of one market."""

    def __init__(self, symbol: SpotSymbol) -> None:
        """Take the digits of this market."""
        self._price_digits = symbol.price_digits
        self._price_places = symbol.price_places
        self._amount_digits = symbol.amount_digits

    def price(self, ticks: int) -> str:
        """Return a price given in ticks."""
        return decimal_text(ticks, self._price_digits, self._price_places)

    def mean_price(self, hundred_millionths: int) -> str:
        """Return a price given in 10**-8 ticks."""
        return decimal_text(hundred_millionths, self._price_digits + 8, self._price_places)

    def amount(self, steps: int) -> str:
        """Return an amount given in steps."""
        return decimal_8(steps, self._amount_digits)

    def value(self, ticks_times_steps: int) -> str:
        """Return a value in quote currency."""
        return decimal_8(ticks_times_steps, self._price_digits + self._amount_digits)


def kline_rows(symbol: SpotSymbol, timeframe: Timeframe, bars: Bars) -> Iterator[list[JsonValue]]:
    """Yield bars as the rows of `GET /api/v3/klines`."""
    for row in _kline_cells(symbol, timeframe, bars):
        yield [*row, "0"]


def kline_texts(symbol: SpotSymbol, timeframe: Timeframe, bars: Bars) -> Iterator[bytes]:
    """Yield bars as the JSON text of the rows of `GET /api/v3/klines`."""
    for t, o, h, low, c, v, ends, q, n, bought, spent in _kline_cells(symbol, timeframe, bars):
        text = f'[{t},"{o}","{h}","{low}","{c}","{v}",{ends},"{q}",{n},"{bought}","{spent}","0"]'
        yield text.encode()


def _kline_cells(
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
        _decimals(bars.open, price, places),
        _decimals(bars.high, price, places),
        _decimals(bars.low, price, places),
        _decimals(bars.close, price, places),
        _decimals(bars.volume, amount),
        ends,
        _decimals(bars.quote, price + amount),
        bars.trades.tolist(),
        _decimals(bars.buy_volume, amount),
        _decimals(bars.buy_quote, price + amount),
        strict=True,
    )


def _decimals(values: IntArray, digits: int, places: int = _DIGITS) -> list[str]:
    """Return `decimal_text` of each value; none is negative."""
    if len(values) < _FEW:
        return [decimal_text(value, digits, places) for value in values.tolist()]
    if digits > places:
        values, digits = values // 10 ** (digits - places), places
    # Split before scaling: a month's volume with 8 digits more would not fit into 64 bits.
    # Not `divmod`, which takes no Python integers; a value that needs more than 64 bits is one.
    whole, part = values // 10**digits, values % 10**digits * 10 ** (places - digits)
    return [f"{w}.{p:0{places}d}" for w, p in zip(whole.tolist(), part.tolist(), strict=True)]


def kline_events(
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
    for row, first_id in zip(kline_rows(symbol, timeframe, bars), first_ids, strict=True):
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
