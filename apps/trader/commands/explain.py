"""`trader explain --at TIME`: input, signal, checks and order of a trader on one candle."""

from typing import Annotated

import typer

from onetape.cli import options
from trader.commands.account_selection import ACCOUNTS, CONFIG, open_accounts, select_accounts


def explain_moment(
    *,
    at: Annotated[
        str, typer.Option(metavar="TIME", help="Time within the candle, UTC: 2024-01-31T14:00.")
    ],
    account: ACCOUNTS = None,
    symbol: options.Symbols = None,
    strategy: options.StrategyName = None,
    exchange: options.Exchange = None,
    db: options.Database = None,
    config: CONFIG = None,
    json_: options.Json = False,
) -> None:
    """Show the signal of one candle, each check, and the order or why there was no order."""
    from onetape.cli.output import print_json, print_line
    from onetape.cli.stdout import claim_stdout
    from onetape.core.dates import parse_moment
    from trader.commands.account_selection import read_configured_strategies
    from trader.commands.explanation import explain_candle
    from trader.rendering.explain import format_explanation, make_explanation_document

    moment = parse_moment(at, "--at")
    strategies = (strategy, *read_configured_strategies(config))
    claim_stdout()
    with open_accounts(db, config, exchange) as store, store.read():
        chosen = select_accounts(store, account, symbol, exchange)
        found = [explain_candle(store, one, moment, strategies) for one in chosen]
        path = store.path
    if json_:
        print_json({"database": path, "candles": [make_explanation_document(one) for one in found]})
        return
    print_line("\n\n".join(format_explanation(one) for one in found))
