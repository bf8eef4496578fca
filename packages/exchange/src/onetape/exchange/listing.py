"""Find the time at which a market was listed: the earliest time for which candles exist."""

from datetime import UTC, datetime
from typing import Final

from onetape.core.timeframes import Timeframe
from onetape.exchange.pages import fetch_first_open
from onetape.exchange.rest import RestExchange

#: Earliest possible time of an exchange's first candle.
_BEGINNING: Final = int(datetime(2010, 7, 1, tzinfo=UTC).timestamp())


async def fetch_listing_time(exchange: RestExchange, symbol: str) -> int | None:
    """Return the time of a market's listing, epoch seconds; None: not known.

    It is the time that the exchange states, otherwise the open of its first daily candle. An
    exchange that serves only its newest candles does not have that candle.

    Raises:
        UsageError: the exchange has no such market.
        ExchangeUnreachable: no usable response.
        ExchangeRefused: the exchange refused the request.
    """
    market = await exchange.fetch_market(symbol)
    if market.listed is not None or not exchange.has_timeframe("1d"):
        return market.listed
    if exchange.quirks.newest_only is not None:
        return None
    now = exchange.now_ms() // 1_000
    return await fetch_first_open(
        exchange, symbol, Timeframe.parse("1d"), start=_BEGINNING, end=now
    )
