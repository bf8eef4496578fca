"""`trader profit`: the profit of closed round trips by day, week or month."""

from typing import Annotated

import typer

from onetape.cli import options
from trader.commands.account_selection import ACCOUNTS, CONFIG, open_accounts, select_accounts


def show_profit(
    *,
    by: Annotated[str, typer.Option(metavar="PERIOD", help="Period: day, week or month.")] = "day",
    timezone: Annotated[
        str,
        typer.Option(metavar="NAME", help="Time zone in which days begin, such as Europe/Berlin."),
    ] = "UTC",
    currency: Annotated[
        str | None,
        typer.Option(
            metavar="CODE",
            help="Convert all profit into this currency, by stored candles.  [default: a table "
            "for each currency]",
        ),
    ] = None,
    account: ACCOUNTS = None,
    symbol: options.Symbols = None,
    exchange: options.Exchange = None,
    db: options.Database = None,
    config: CONFIG = None,
    json_: options.Json = False,
) -> None:
    """Show profit by day, week or month.

    Profit of closed round trips, after fees, at the time of their last sell. Each quote currency
    has a separate table, unless --currency is given.
    """
    from onetape.cli.output import get_terminal_width, print_json, print_line
    from trader.commands.account_result import read_digits, read_result
    from trader.commands.currency_conversion import Converter
    from trader.commands.profit_periods import parse_period, parse_timezone, sum_profit_by_period
    from trader.rendering.profit import CurrencyProfit, format_profit, make_profit_document

    period, zone = parse_period(by), parse_timezone(timezone)
    with open_accounts(db, config, exchange) as store, store.read():
        path = store.path
        chosen = select_accounts(store, account, symbol, exchange)
        results = [read_result(store, one) for one in chosen]
        decimals = {one.currency: read_digits(store, one).money for one in chosen}
        sources: list[str] = []
        if currency is not None:
            converter = Converter(store, currency.upper())
            results = [converter.convert(one) for one in results]
            sources = converter.sources
            fewest = min(decimals.values())
            decimals = {currency.upper(): decimals.get(currency.upper(), fewest)}
    currencies = [
        CurrencyProfit(
            code,
            [result for result in results if result.account.currency == code],
            sum_profit_by_period(
                (
                    trip
                    for result in results
                    if result.account.currency == code
                    for trip in result.round_trips
                ),
                period,
                zone,
            ),
            decimals[code],
        )
        for code in sorted(decimals)
    ]
    if json_:
        parts = [make_profit_document(one) for one in currencies]
        head = {"database": path, "by": period, "timezone": timezone, "converted_by": sources}
        print_json({**head, "currencies": parts})
        return
    width = get_terminal_width()
    print_line(format_profit(currencies, period, timezone, path, sources=sources, width=width))
