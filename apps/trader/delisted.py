"""Positions in markets that the exchange does not list any more, until a person writes them off.

Nothing can be sold there, so the position keeps its money and its slot. It is stored as a
difference that `trader reconcile` lists. When a person answers `forget`, the position is removed
from the account's stored fills by a sell that no exchange executed (an order of type `correction`),
at the last stored price or at a price of the answer.
"""

import time
from decimal import Decimal
from pathlib import Path
from typing import Final
from uuid import uuid4

from msgspec import structs

from onetape.core.candles import SeriesKey
from onetape.core.errors import DataError
from onetape.core.symbols import SIMULATOR_ID, split_symbol
from onetape.core.timeframes import Timeframe
from onetape.core.trading import Fill, Session
from onetape.core.trading_rules import format_decimal
from onetape.execution.events import (
    FillReport,
    OrderEvent,
    StatusReport,
    decode_event,
    encode_event,
    get_event_kind,
)
from onetape.execution.orders import OrderState, advance, fold
from onetape.execution.positions import Position, get_min_sell_amount, sum_position
from onetape.store.account_reading import is_lease_holder_alive, read_lease, read_newest_time
from onetape.store.candles import read_last_closed
from onetape.store.database import Store, open_store
from onetape.store.leases import Fence, make_lease_name
from onetape.store.ledger import read_fills
from onetape.store.live_accounts import (
    DELISTED,
    StoredDifference,
    add_difference,
    end_difference,
    read_delisted_difference,
    store_difference_answer,
)
from onetape.store.market_data import read_trading_rules
from onetape.store.obligations import end_obligations_of_closed_positions
from onetape.store.orders import (
    OrderChange,
    insert_order,
    read_unfinished_orders,
    store_order_change,
)
from onetape.store.sessions import read_newest_session
from trader.lease import NamedLease
from trader.new_orders import make_order

#: Maximum time that a start waits to write a delisting; its event loop is blocked meanwhile.
_WRITE_TIMEOUT_SECONDS: Final = 1.0
#: Type of the order that books the sale of coins which no order has sold.
_CORRECTION: Final = "correction"


def note_delisted(database: Path, account: str, symbol: str, reason: str) -> None:
    """Store that a position cannot be sold, before its trader starts; `trader reconcile` lists it.

    Args:
        database: Path of the database, which has the position.
        account: Name of the account.
        symbol: Symbol of the market that is not listed.
        reason: Error message of the exchange.

    Raises:
        StoreError: the file cannot be used.
    """
    document = {"text": f"the position cannot be sold: {reason}", "symbol": symbol}
    with open_store(database, create=False) as store:
        store.lock_timeout_seconds = _WRITE_TIMEOUT_SECONDS
        seen_ms = time.time_ns() // 1_000_000
        add_difference(store, None, account, DELISTED, symbol, document, seen_ms=seen_ms)


def note_delisted_while_trading(store: Store, session: Session, fence: Fence, reason: str) -> int:
    """Store that a position cannot be sold, while its trader runs; return the difference's number.

    Args:
        store: The open database.
        session: Session that trades the symbol.
        fence: The lease of account and symbol.
        reason: Reason why the market takes no order.

    Raises:
        SafetyRefusal: another process took the account over.
        StoreError: the file cannot be written.
    """
    account, symbol = session.account, session.symbol
    document = {"text": f"the position cannot be sold: {reason}", "symbol": symbol}
    add_difference(store, fence, account, DELISTED, symbol, document, seen_ms=_get_wall_ms())
    found = read_delisted_difference(store, account, symbol)
    return 0 if found is None else found.number


def note_listed(database: Path, account: str, symbol: str) -> None:
    """End the stored difference of a market that is listed again; before a trader starts.

    Args:
        database: Path of the database; it may not exist yet.
        account: Name of the account.
        symbol: Symbol of the market.

    Raises:
        StoreError: the file cannot be used.
    """
    if not database.exists():
        return
    with open_store(database, create=False) as store:
        store.lock_timeout_seconds = _WRITE_TIMEOUT_SECONDS
        end_delisted(store, account, symbol)


def end_delisted(store: Store, account: str, symbol: str) -> None:
    """End the stored difference of a market that is listed again, if there is one.

    Raises:
        StoreError: the file cannot be used.
    """
    found = read_delisted_difference(store, account, symbol)
    if found is not None:
        end_difference(store, found.number, ended_ms=_get_wall_ms())


def write_off_if_answered(database: Path, account: str, symbol: str) -> str | None:
    """Write a position off, if a person has answered `forget` and no trader runs.

    Returns:
        A text with the result; None: there is no such answer.

    Raises:
        SafetyRefusal: a trader still trades the symbol.
        StoreError: the file cannot be written.
    """
    with open_store(database, create=False) as store:
        store.lock_timeout_seconds = _WRITE_TIMEOUT_SECONDS
        found = read_delisted_difference(store, account, symbol)
        if found is None or found.answer != "forget":
            return None
        return write_off_delisted(store, found, _get_answer_price(found))


def write_off_while_trading(store: Store, session: Session, fence: Fence) -> str | None:
    """Write a position off for its running trader, if a person has answered `forget`.

    Args:
        store: The open database.
        session: Session that trades the symbol.
        fence: The lease of account and symbol.

    Returns:
        A text with the result; None: there is no answer yet.

    Raises:
        SafetyRefusal: another process took the account over.
        StoreError: the file cannot be written.
    """
    found = read_delisted_difference(store, session.account, session.symbol)
    if found is None or found.answer != "forget":
        return None
    line = _write_off_position(store, session, fence, _get_answer_price(found))
    end_difference(store, found.number, ended_ms=_get_wall_ms())
    return line


def _get_answer_price(found: StoredDifference) -> Decimal | None:
    """Return the price of an answer, quote currency; None: the last price that is stored."""
    price = found.document.get("price")
    return None if price is None else Decimal(str(price))


def _get_wall_ms() -> int:
    return time.time_ns() // 1_000_000


def write_off_delisted(store: Store, found: StoredDifference, price: Decimal | None) -> str:
    """Write off a position that cannot be sold; return a text with the result.

    A sell of all its coins is booked, which no exchange has executed. Open orders of the position
    end as expired, and so does its pending exit. If a trader runs on the symbol, only the answer is
    stored, and the trader writes the position off.

    Args:
        store: The open database.
        found: The difference of the position.
        price: Proceeds of each coin, quote currency; 0: nothing. None: the last price that is
            stored.

    Raises:
        SafetyRefusal: a trader has begun to trade the symbol meanwhile.
        DataError: no session has traded the symbol.
        StoreError: the file cannot be written.
    """
    account, symbol = found.account, found.subject
    session = read_newest_session(store, account, symbol)
    if session is None:
        raise DataError(f"no session of account {account} has traded {symbol}")
    name = make_lease_name(account, symbol)
    held = read_lease(store, name)
    if held is not None and is_lease_holder_alive(store, name, held, _get_wall_ms()):
        store_difference_answer(
            store, found.number, "forget", answered_ms=_get_wall_ms(), price=price
        )
        return (
            f"{account}: the answer is stored; the trader that runs takes the position in {symbol} "
            "out of the ledger within seconds"
        )
    lease = NamedLease(store, name)
    try:
        line = _write_off_position(store, session, lease.fence, price)
        end_difference(store, found.number, ended_ms=_get_wall_ms())
    finally:
        lease.release()
    return line


def _write_off_position(store: Store, session: Session, fence: Fence, price: Decimal | None) -> str:
    """Book a sell of all coins, and end orders and pending exit; return a text with the result."""
    base, quote = split_symbol(session.symbol)
    steps = read_trading_rules(store, session.exchange, session.symbol)
    fills = read_fills(
        store, session.account, session.symbol, exchange=session.exchange, mode=session.mode
    )
    position = sum_position(fills, base, quote, steps)
    now_ms = max(
        _read_market_time_ms(store, session), max((one.executed_ms for one in fills), default=0)
    )
    _expire_orders(store, session, fence, now_ms)
    if position.is_flat:
        return f"{session.account}: there is no position in {session.symbol} any more"
    last = price if price else _read_last_price(store, session, position)
    is_paid = price != 0
    opened = Timeframe.parse(session.timeframe).floor(now_ms // 1_000)
    order = make_order(
        session,
        uuid4().hex,
        "sell",
        _CORRECTION,
        last,
        f"{session.symbol} is not listed any more; a person answered forget",
        signal_timestamp=opened,
        decided_ms=now_ms,
        entry_order_id=position.entry_order_id,
        amount=position.base,
    )
    identity = order.client_order_id
    fee = Decimal(0) if is_paid else last * position.base
    report = FillReport(f"correction-{identity}", last, position.base, fee, quote, now_ms)
    fill = Fill(
        exchange=session.exchange,
        symbol=session.symbol,
        exchange_trade_id=report.trade_id,
        client_order_id=identity,
        session=session.session,
        mode=session.mode,
        account=session.account,
        side="sell",
        price=last,
        amount=position.base,
        fee=fee,
        fee_currency=quote,
        executed_ms=now_ms,
        min_sell_amount=None if steps is None else get_min_sell_amount(steps),
    )
    insert_order(store, order, fence)
    closed = StatusReport("closed", position.base)
    before = OrderState(position.base)
    change = _make_order_change(identity, before, [report, closed], 1, now_ms)
    change = structs.replace(change, fills=(fill,), filled_timestamp=opened)
    store_order_change(store, change, fence)
    end_obligations_of_closed_positions(store, session, fence, entry_order_id=None, ended_ms=now_ms)
    brought = f"at {format_decimal(last)} {quote} each" if is_paid else f"for 0 {quote}"
    return (
        f"{session.account}: the position of {format_decimal(position.base)} {base} "
        f"is taken out of the ledger {brought}; its slot and its money are free"
    )


def _expire_orders(store: Store, session: Session, fence: Fence, now_ms: int) -> None:
    """End the open orders: orders in a market that is not listed have expired."""
    for stored in read_unfinished_orders(store, session):
        state = fold([decode_event(event) for event in stored.events])
        if state.is_finished_and_booked:
            continue
        expired = StatusReport("expired", state.booked)
        identity = stored.order.client_order_id
        change = _make_order_change(identity, state, [expired], len(stored.events), now_ms)
        store_order_change(store, change, fence)


def _make_order_change(
    identity: str,
    before: OrderState,
    events: list[OrderEvent],
    stored_event_count: int,
    now_ms: int,
) -> OrderChange:
    """Return the stored change of an order after events, the last of which ends it."""
    state = before
    for event in events:
        state, _ = advance(state, event)
    return OrderChange(
        client_order_id=identity,
        events=tuple((get_event_kind(event), encode_event(event)) for event in events),
        stored_event_count=stored_event_count,
        before=before.status,
        status=state.status,
        filled=state.filled,
        booked=state.booked,
        is_cancel_requested=state.is_cancel_requested,
        exchange_order_id=state.exchange_order_id,
        at_ms=now_ms,
        source="person",
        is_finished_and_booked=True,
    )


def _read_last_price(store: Store, session: Session, position: Position) -> Decimal:
    """Return the last stored price, or the entry's average price if no price is stored."""
    known = read_last_closed(store, _make_series_key(session), 1)
    if len(known):
        return Decimal(repr(float(known.close[-1])))
    return position.cost / position.open_amount


def _read_market_time_ms(store: Store, session: Session) -> int:
    """Return the market time, epoch milliseconds; of a simulator the newest that is stored."""
    if session.exchange != SIMULATOR_ID:
        return time.time_ns() // 1_000_000
    return read_newest_time(store, _make_series_key(session)) or session.started_ms


def _make_series_key(session: Session) -> SeriesKey:
    return SeriesKey(session.exchange, session.symbol, session.timeframe)
