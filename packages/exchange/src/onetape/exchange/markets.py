"""Convert CCXT's market and ticker dictionaries to records."""

from decimal import Decimal
from typing import Any

import ccxt
from msgspec import Struct

from onetape.core.symbols import split_symbol
from onetape.core.trading_rules import TradingRules


class MarketInfo(Struct, frozen=True):
    """One spot market as the exchange states it."""

    symbol: str
    base: str
    quote: str
    trading_rules: TradingRules
    active: bool
    """Whether the market is open for trading; False: listed, but not traded now."""
    maker: Decimal | None = None
    """Fee of an order that rests, as a fraction of its value; None: not stated."""
    taker: Decimal | None = None
    """Fee of an order that fills at once, as a fraction of its value; None: not stated."""
    listed: int | None = None
    """Time of the listing, epoch seconds; None: not stated."""
    max_amount: Decimal | None = None
    """Maximum amount of an order, base currency; None: not stated."""
    max_market_amount: Decimal | None = None
    """Maximum amount of a market order, base currency; None: not stated."""
    max_cost: Decimal | None = None
    """Maximum value of a limit order, quote currency; None: not stated."""


class Ticker(Struct, frozen=True):
    """Prices and volume of one market over the last 24 hours; None: the exchange states none."""

    symbol: str
    last: float | None
    """Last price, in quote currency."""
    bid: float | None
    """Best bid, in quote currency."""
    ask: float | None
    """Best ask, in quote currency."""
    quote_volume: float | None
    """Traded value of 24 hours, in quote currency."""

    @property
    def spread(self) -> float | None:
        """Best ask minus best bid, as a fraction of the mean of both; None: one is missing."""
        if not self.bid or not self.ask or self.ask < self.bid:
            return None
        return (self.ask - self.bid) / ((self.ask + self.bid) / 2)


def parse_market(symbol: str, info: dict[str, Any], precision_mode: int) -> MarketInfo:
    """Return the market of a dictionary of CCXT.

    Args:
        symbol: CCXT spot symbol.
        info: Item of the client's `markets`.
        precision_mode: `precisionMode` of the client, which states how steps are written.
    """
    base, quote = split_symbol(symbol)
    precision: dict[str, Any] = info.get("precision") or {}
    limits: dict[str, Any] = info.get("limits") or {}
    created_ms = info.get("created")
    return MarketInfo(
        symbol,
        base,
        quote,
        TradingRules(
            price_step=_parse_step(precision.get("price"), precision_mode),
            amount_step=_parse_step(precision.get("amount"), precision_mode),
            min_amount=_parse_minimum(limits, "amount"),
            min_notional=_parse_minimum(limits, "cost"),
        ),
        active=info.get("active") is not False,
        maker=_parse_decimal(info.get("maker")),
        taker=_parse_decimal(info.get("taker")),
        listed=int(created_ms) // 1_000 if created_ms else None,
        max_amount=_parse_maximum(limits, "amount"),
        max_market_amount=_parse_maximum(limits, "market"),
        max_cost=_parse_maximum(limits, "cost"),
    )


def parse_ticker(symbol: str, info: dict[str, Any]) -> Ticker:
    """Return the ticker of a dictionary of CCXT's `fetch_ticker`."""
    last, base_volume = _parse_number(info.get("last")), _parse_number(info.get("baseVolume"))
    quote_volume = _parse_number(info.get("quoteVolume"))
    if quote_volume is None and base_volume is not None:
        # Only the base amount is stated: its value is estimated at the mean or the last price.
        mean = _parse_number(info.get("vwap")) or last
        quote_volume = None if mean is None else base_volume * mean
    return Ticker(
        symbol, last, _parse_number(info.get("bid")), _parse_number(info.get("ask")), quote_volume
    )


def _parse_number(value: float | str | None) -> float | None:
    return None if value is None else float(value)


def _parse_minimum(limits: dict[str, Any], name: str) -> Decimal:
    bounds: dict[str, Any] = limits.get(name) or {}
    return _parse_decimal(bounds.get("min")) or Decimal(0)


def _parse_maximum(limits: dict[str, Any], name: str) -> Decimal | None:
    bounds: dict[str, Any] = limits.get(name) or {}
    # Binance states 0 if a filter does not apply.
    return _parse_decimal(bounds.get("max")) or None


def _parse_step(precision: float | str | None, precision_mode: int) -> Decimal | None:
    """Return the step of a precision of CCXT; None: no step, or significant digits."""
    if precision is None or precision_mode == ccxt.SIGNIFICANT_DIGITS:
        return None
    if precision_mode == ccxt.DECIMAL_PLACES:
        return Decimal(1).scaleb(-int(precision))
    return _parse_decimal(precision)


def _parse_decimal(value: float | str | None) -> Decimal | None:
    """Return the exact decimal of a number of CCXT: 1e-05 is 0.00001."""
    return None if value is None else Decimal(repr(value) if isinstance(value, float) else value)
