"""Opens the account of an API key at an exchange, before any order is sent.

`open_access` checks the rights of the key, reads the account's id and balances, locks the symbols
against other processes of the computer, and opens the stream of account events.
`open_or_check_account` opens the account in the database at its first session.
"""

import os
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from decimal import Decimal
from pathlib import Path
from typing import Final

from msgspec import Struct, structs

from onetape.cli.output import print_line
from onetape.core.errors import ExchangeRefused, SafetyRefusal, UsageError
from onetape.core.symbols import SIMULATOR_ID
from onetape.exchange.clients import Endpoint
from onetape.exchange.dialects import DIALECTS
from onetape.exchange.permissions import (
    ACCOUNT_EXCHANGES,
    KeyMayNotTrade,
    check_permissions,
)
from onetape.exchange.rest import RestExchange
from onetape.exchange.trading import PrivateClient
from onetape.exchange.trading_records import Balance, Credentials
from onetape.store.accounts import read_account_series
from onetape.store.database import Store, open_store
from onetape.store.live_accounts import LiveAccount, open_live_account, read_live_account
from onetape.store.process_lock import ProcessLock
from onetape.websocket.user_stream import UserStream
from trader.live.account_stream import open_stream
from trader.live.booked_coins import compute_free_money, sum_booked_coins
from trader.live.start_plan import make_exits_only_problem
from trader.settings import TraderSettings
from trader.states import Problem

#: Exchanges whose orders were tried against the simulator, which implements Binance's protocol.
LIVE_EXCHANGES: Final = (SIMULATOR_ID, "binance")
#: Exchanges whose requests are known and tested, and to which no order was ever sent. An order to
#: buy states its amount, a stop becomes a market order, and the lease needs the id of the account.
UNTESTED_EXCHANGES: Final = tuple(
    name
    for name, dialect in DIALECTS.items()
    if name not in LIVE_EXCHANGES
    and name in ACCOUNT_EXCHANGES
    and dialect.buys_by == "amount"
    and "market" in dialect.stop_kinds
)


class LiveAccess(Struct, frozen=True):
    """An account at an exchange that may be traded, with its open connections."""

    client: PrivateClient
    """Client for requests with the API key."""
    exchange_account: str
    """The exchange's own id of the account."""
    balances: dict[str, Balance]
    """Balances of the account; empty if unreadable while a position or order is open."""
    stream: UserStream
    """Events of the account, as far as the exchange sends them."""
    entry_ban: Problem | None = None
    """Problem that forbids entries with this API key; None: entries are allowed."""
    is_confirmed: bool = False
    """Whether a person has just confirmed the first entry of the account."""
    booked: Decimal = Decimal(0)
    """Quote currency that is booked as positions of accounts in the database."""

    def compute_free_money(self, quote: str) -> Decimal:
        """Return the quote currency that is free and belongs to no position."""
        return compute_free_money(self.balances.get(quote), self.booked)

    def add_booked_coins(self, path: Path, quote: str) -> "LiveAccess":
        """Return the account with the amount of quote currency that is booked as positions.

        Args:
            path: Database of the trader.
            quote: Quote currency of the traded symbols.

        Raises:
            StoreError: the file cannot be used.
        """
        if not path.exists():
            return self
        with open_store(path, create=False) as store:
            exchange = self.client.endpoint.exchange
            booked = sum_booked_coins(store, exchange, self.exchange_account, quote)
        return structs.replace(self, booked=booked)

    @property
    def account_name(self) -> str:
        """Return exchange and account as a text; only one trader may trade this account."""
        return _format_account(self.client.endpoint, self.exchange_account)


def describe_live_obstacle(exchange: str) -> str:
    """Return the reason why no orders are sent to an exchange; empty: none is known.

    Args:
        exchange: CCXT exchange id.
    """
    dialect = DIALECTS.get(exchange)
    if dialect is None:
        return ""
    reasons = {
        "it does not state the account of a key": exchange not in ACCOUNT_EXCHANGES,
        "its market buys state what they cost, not an amount": dialect.buys_by == "cost",
        "its stops become limit orders alone": "market" not in dialect.stop_kinds,
    }
    return ", and ".join(reason for reason, holds in reasons.items() if holds)


def check_live_exchange(exchange: str, *, is_untested_allowed: bool) -> None:
    """Refuse real orders on an exchange where they were never tried.

    Args:
        exchange: CCXT exchange id, or `simulator`.
        is_untested_allowed: Whether a person allows live orders where only requests are tested.

    Raises:
        UsageError: the text lists the exchanges that there are.
    """
    if exchange in LIVE_EXCHANGES or (exchange in UNTESTED_EXCHANGES and is_untested_allowed):
        return
    if exchange in UNTESTED_EXCHANGES:
        raise UsageError(
            f"no order was ever sent to {exchange} by this program, only its requests are tested; "
            "add --untested-exchange if you want that (docs/exchanges.md)",
            setting="exchange",
        )
    reason = describe_live_obstacle(exchange)
    because = f", because {reason}" if reason else ""
    raise UsageError(
        f"no orders to {exchange}{because}: live orders go to {', '.join(LIVE_EXCHANGES)}, and "
        f"with --untested-exchange to {', '.join(UNTESTED_EXCHANGES)} (docs/exchanges.md)",
        setting="exchange",
    )


async def open_access(
    exchange: RestExchange,
    symbols: Sequence[str],
    stack: AsyncExitStack,
    credentials: Credentials,
    *,
    data_folders: Iterable[Path] = (),
    held_account: str | None = None,
    is_unknown_allowed: bool = False,
) -> LiveAccess:
    """Open the account of an API key; the exit stack closes the account.

    With a position or an order open no key is refused: a fault of the key bans entries.

    Args:
        exchange: Open; its clock dates requests.
        symbols: Symbols to trade; no other process of this computer may trade them there.
        stack: Closes what is opened.
        credentials: API key of the account.
        data_folders: Folders that containers share: of the database, and of all data. Without any,
            only programs with the same folder for temporary files exclude each other.
        held_account: The exchange's id of the account with an open position or order; None: no
            position or order is open.
        is_unknown_allowed: Whether a key may be used whose rights the exchange does not state.

    Raises:
        UsageError: no live orders on this exchange.
        SafetyRefusal: the key may withdraw, or may not trade; or another process trades a symbol.
        ExchangeError: the exchange does not accept the key, or cannot be reached.
    """
    endpoint = exchange.endpoint
    client = PrivateClient(endpoint, credentials, now_ms=exchange.now_ms)
    await stack.enter_async_context(client)
    await client.load_markets()
    ban = None
    try:
        permissions = await client.fetch_permissions()
        allowed = is_unknown_allowed or endpoint.is_sandbox
        for note in check_permissions(endpoint.exchange, permissions, is_unknown_allowed=allowed):
            print_line(note)
    except (SafetyRefusal, ExchangeRefused) as error:
        if held_account is None:
            raise
        ban = _make_key_problem(error)
    try:
        account, balances = await client.fetch_account_id(), await client.fetch_balances()
    except ExchangeRefused as error:
        if held_account is None:
            raise
        account, balances, ban = held_account, {}, _make_key_problem(error)
    temporary = Path(tempfile.gettempdir()) / f"onetape-accounts-{os.getuid()}"
    shared = {folder.resolve() / "onetape-accounts": None for folder in data_folders}
    for symbol in symbols:
        for lock_file in (temporary, *shared):
            stack.callback(_lock_symbol(endpoint, account, symbol, lock_file).release)
    stream = await open_stream(client, credentials, stack)
    return LiveAccess(client, account, balances, stream, ban)


def _make_key_problem(error: SafetyRefusal | ExchangeRefused) -> Problem:
    """Return the problem of a key that would be refused if no position or order were open."""
    if isinstance(error, ExchangeRefused):
        reason, advice = f"the API key is not accepted: {error}", "give the trader another key"
    else:
        reason, _, advice = str(error).replace("the key", "the API key", 1).partition(": ")
    if isinstance(error, (ExchangeRefused, KeyMayNotTrade)):
        measure = "nothing can be sent; a stop that rests on the exchange stays there"
        return Problem(reason, measure, f"{advice}, then start the trader again", is_final=True)
    return make_exits_only_problem(reason, f"{advice}, then start the trader again")


def open_or_check_account(
    store: Store,
    settings: TraderSettings,
    account: str,
    access: LiveAccess,
    quote: str,
    now_ms: int,
) -> TraderSettings:
    """Open an account in the database at its first session; return settings with its start money.

    The balances of the account are stored as its baseline. For an account that is open already,
    only the owner of the key is checked.

    Args:
        store: The open database.
        settings: Settings of the trader. If they state no `cash`, a new account may spend the quote
            currency that is free and is not booked as a position of another account of the
            database.
        account: Name of the account.
        access: The account at the exchange.
        quote: Quote currency of the traded symbols.
        now_ms: Market time, epoch milliseconds.

    Raises:
        SafetyRefusal: the account was opened with a key of another account of the exchange, or
            another account of the database counts the same money.
        UsageError: there is no money to trade with.
    """
    known = read_live_account(store, account)
    if known is None:
        baseline = {name: balance.total for name, balance in access.balances.items()}
        exchange = access.client.endpoint.exchange
        takes_all = settings.cash is None and not read_account_series(store, account)
        other = open_live_account(
            store,
            LiveAccount(account, exchange, access.exchange_account, baseline, now_ms, None),
            sole_currency=quote if takes_all else None,
        )
        if other is not None:
            raise make_shared_money_refusal(account, other, quote, exchange)
    elif known.exchange_account != access.exchange_account:
        raise SafetyRefusal(
            f"account {account} was opened on account {known.exchange_account} of "
            f"{known.exchange}, and the key belongs to {access.exchange_account}; use a key of "
            "that account, or another name with --account"
        )
    if settings.cash is not None or read_account_series(store, account):
        return settings
    free = access.compute_free_money(quote)
    if not free:
        booked = access.booked
        but = f": {booked:f} {quote} are booked as positions of other accounts" if booked else ""
        raise UsageError(f"the account has no free {quote} to trade with{but}")
    return structs.replace(settings, cash=free)


def make_shared_money_refusal(
    account: str, other: str, currency: str, exchange: str
) -> SafetyRefusal:
    """Return the refusal of a new account without `cash` whose money another account counts.

    Args:
        account: Name of the new account.
        other: Name of the other account.
        currency: Currency of the money.
        exchange: CCXT exchange id of both.
    """
    return SafetyRefusal(
        f"account {other} trades with {currency} on the same account of {exchange}, and account "
        f"{account} would count the same money: state the amount of the new account with --cash, "
        f'or go on with the other one: --account "{other}"'
    )


def _lock_symbol(endpoint: Endpoint, account: str, symbol: str, lock_file: Path) -> ProcessLock:
    """Take the lock of a symbol of an account, independent of the account's name and database.

    Args:
        endpoint: The exchange.
        account: The exchange's own id of the account.
        symbol: Symbol of the market.
        lock_file: Path of the file with the locks, without its ending.

    Raises:
        SafetyRefusal: another process of this computer holds the lock.
    """
    lock = ProcessLock(lock_file, f"{_format_account(endpoint, account)}, {symbol}")
    lock.acquire()
    if lock.is_taken:
        raise SafetyRefusal(
            f"another process of this computer trades {symbol} on the same account of "
            f"{endpoint.exchange}; stop it first: two traders would sell each other's coins"
        )
    return lock


def _format_account(endpoint: Endpoint, account: str) -> str:
    # All simulators have one account id: each simulator counts as a separate exchange.
    exchange = endpoint.simulator_url or endpoint.exchange
    network = "the test network of " if endpoint.is_sandbox else ""
    return f"account {account} of {network}{exchange}"
