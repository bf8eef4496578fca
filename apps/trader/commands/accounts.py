"""`trader accounts`: all accounts, ranked by return."""

from onetape.cli import options
from trader.commands.account_selection import ACCOUNTS, CONFIG, open_accounts, select_accounts


def list_accounts(
    *,
    account: ACCOUNTS = None,
    symbol: options.Symbols = None,
    exchange: options.Exchange = None,
    db: options.Database = None,
    config: CONFIG = None,
    json_: options.Json = False,
) -> None:
    """Rank all accounts, on paper and live, by return, with buy and hold."""
    from onetape.cli.output import get_terminal_width, print_json, print_line
    from trader.commands.account_buy_and_hold import read_mean_buy_and_hold
    from trader.commands.account_result import merge_account_results, read_digits, read_result
    from trader.rendering.accounts import RankedAccount, format_accounts, make_account_document

    with open_accounts(db, config, exchange) as store, store.read():
        path = store.path
        chosen = select_accounts(store, account, symbol, exchange)
        results = merge_account_results(read_result(store, one) for one in chosen)
        found = [
            RankedAccount(
                result,
                read_mean_buy_and_hold(
                    store, [one for one in chosen if one.name == result.account.name]
                ),
                read_digits(store, next(one for one in chosen if one.name == result.account.name)),
            )
            for result in results
        ]
    found.sort(key=lambda one: one.rank)
    if json_:
        print_json({"database": path, "accounts": [make_account_document(one) for one in found]})
        return
    print_line(format_accounts(found, path, width=get_terminal_width()))
