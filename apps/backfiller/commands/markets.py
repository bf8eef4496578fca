"""`backfiller markets`: the markets of an exchange, most traded first."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from msgspec import Struct
from msgspec.structs import asdict

from backfiller.commands.series_selection import CONFIG, load_backfiller_settings
from onetape.cli import options

if TYPE_CHECKING:
    from decimal import Decimal

    from onetape.exchange.clients import Endpoint
    from onetape.exchange.markets import MarketInfo, Ticker

#: Orders of the list.
SORTS = ("volume", "spread", "symbol", "listed")


class MarketLine(Struct, frozen=True):
    """One market with its numbers of the last 24 hours."""

    market: "MarketInfo"
    ticker: "Ticker | None"
    """Prices and volume; None: the exchange does not state them."""
    listed: int | None
    """Time of the listing, epoch seconds; None: unknown."""

    def make_sort_key(self, sort: str) -> tuple[Any, ...]:
        """Return the sort key of a line; `sort` is one of `SORTS`, unknown values come last."""
        volume = self.ticker.quote_volume if self.ticker else None
        spread = self.ticker.spread if self.ticker else None
        value: float | None = {
            "volume": None if volume is None else -volume,
            "spread": spread,
            "listed": self.listed,
        }.get(sort)
        return (sort != "symbol" and value is None, value or 0.0, self.market.symbol)

    def make_document(self) -> dict[str, Any]:
        """Return the line for --json."""
        ticker = self.ticker
        market = asdict(self.market)
        rules = market.pop("trading_rules")
        return {
            **market,
            "trading_rules": rules,
            "listed": self.listed,
            "last": ticker.last if ticker else None,
            "quote_volume": ticker.quote_volume if ticker else None,
            "spread": ticker.spread if ticker else None,
        }


def list_markets(
    *,
    exchange: options.Exchange = None,
    quote: Annotated[
        str | None,
        typer.Option(
            metavar="ASSET", help="Quote currency of the markets, such as USDC.  [default: any]"
        ),
    ] = None,
    sort: Annotated[
        str, typer.Option(metavar="BY", help="Order of the list: volume, spread, symbol or listed.")
    ] = "volume",
    limit: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            help="Number of lines; each may need a request (with --sort listed, each market).",
        ),
    ] = 30,
    config: CONFIG = None,
    simulator_url: options.SimulatorUrl = None,
    json_: options.Json = False,
) -> None:
    """List an exchange's spot markets: volume, spread, minimum order, steps, fees, age.

    The volume is that of the last 24 hours.
    """
    import asyncio
    from contextlib import ExitStack

    from backfiller.backfiller_runs import make_endpoint
    from onetape.cli.output import print_json, print_line
    from onetape.core.errors import DataError, UsageError
    from onetape.exchange.catalogue import check_exchange

    if sort not in SORTS:
        raise UsageError(f"--sort {sort!r} is not one of {', '.join(SORTS)}")
    settings = load_backfiller_settings(None, config, [exchange] if exchange else None)
    name = check_exchange(settings.exchange[0])
    with ExitStack() as stack:
        endpoint = make_endpoint(name, simulator_url or settings.simulator_url, stack)
        asset = quote.upper() if quote else None
        lines = asyncio.run(_fetch_market_lines(endpoint, asset, sort, limit))
    if not lines:
        raise DataError(f"{name} trades no spot market{f' in {quote}' if quote else ''} now")
    if json_:
        print_json({"exchange": name, "markets": [line.make_document() for line in lines]})
    else:
        print_line(_format_market_table(lines))


async def _fetch_market_lines(
    endpoint: "Endpoint", quote: str | None, sort: str, limit: int
) -> list[MarketLine]:
    """Return the lines of the table, sorted.

    The time of a listing that the exchange does not state needs a request for each line; to sort by
    it, for each market.
    """
    from onetape.cli.output import note, print_progress
    from onetape.core.message_text import format_count
    from onetape.exchange.listing import fetch_listing_time
    from onetape.exchange.rest import RestExchange

    print_progress(f"loading the markets of {endpoint.exchange}")
    async with RestExchange(endpoint, retry_seconds=30.0, note=note) as exchange:
        markets = [
            market
            for market in await exchange.fetch_markets()
            if market.active and (quote is None or market.quote == quote)
        ]
        tickers = await exchange.fetch_tickers([market.symbol for market in markets])
        lines = [MarketLine(each, tickers.get(each.symbol), each.listed) for each in markets]
        if sort != "listed":
            lines = sorted(lines, key=lambda line: line.make_sort_key(sort))[:limit]
        print_progress(f"loading the listing times of {format_count(len(lines), 'market')}")
        dated = [
            MarketLine(
                line.market, line.ticker, await fetch_listing_time(exchange, line.market.symbol)
            )
            for line in lines
        ]
    return sorted(dated, key=lambda line: line.make_sort_key(sort))[:limit]


def _format_market_table(lines: Sequence[MarketLine]) -> str:
    from onetape.cli.tables import Column, fit_table
    from onetape.core.clock import format_day

    markets = [line.market for line in lines]
    volumes = [line.ticker.quote_volume if line.ticker else None for line in lines]
    spreads = [line.ticker.spread if line.ticker else None for line in lines]
    columns = [
        Column("symbol", [market.symbol for market in markets]),
        Column(
            "24 h volume",
            ["" if volume is None else f"{volume:,.0f}" for volume in volumes],
            ["" if volume is None else _format_short_amount(volume) for volume in volumes],
            right=True,
            brief="24 h",
        ),
        Column(
            "spread",
            ["" if spread is None else f"{spread:.4%}" for spread in spreads],
            right=True,
        ),
        Column("min order", [_format_minimum_order(market) for market in markets], right=True),
        Column(
            "price step",
            [_format_step(market.trading_rules.price_step) for market in markets],
            right=True,
            brief="tick",
        ),
        Column(
            "amount step",
            [_format_step(market.trading_rules.amount_step) for market in markets],
            right=True,
            brief="lot",
        ),
        Column("maker", [_format_percent(market.maker) for market in markets], (), right=True),
        Column("taker", [_format_percent(market.taker) for market in markets], right=True),
        Column(
            "listed",
            ["" if line.listed is None else format_day(line.listed)[:10] for line in lines],
            ["" if line.listed is None else format_day(line.listed)[:7] for line in lines],
        ),
    ]
    return fit_table(columns)


def _format_minimum_order(market: "MarketInfo") -> str:
    """Return the minimum order: its value in quote currency, or its amount; empty: not stated."""
    trading_rules = market.trading_rules
    if trading_rules.min_notional:
        return f"{trading_rules.min_notional.normalize():f} {market.quote}"
    return (
        f"{trading_rules.min_amount.normalize():f} {market.base}"
        if trading_rules.min_amount
        else ""
    )


def _format_step(step: "Decimal | None") -> str:
    return "" if step is None else f"{step.normalize():f}"


def _format_percent(part: "Decimal | None") -> str:
    return "" if part is None else f"{(part * 100).normalize():f} %"


def _format_short_amount(amount: float) -> str:
    """Return an amount such as `1.2 M`."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if amount >= size:
            return f"{amount / size:,.1f} {letter}"
    return f"{amount:,.0f}"
