"""Converts a reading of the account to the form in which it is compared with the database."""

from decimal import Decimal

from onetape.exchange.trading_records import Balance, OrderSnapshot
from onetape.execution.reconcile import ExchangeOrder, ExchangeSnapshot
from trader.brokers.live_records import AccountSnapshot


def make_exchange_snapshot(snapshot: AccountSnapshot, base: str) -> ExchangeSnapshot:
    """Return the exchange's record of one market, for `execution/reconcile.py`.

    Args:
        snapshot: A reading of the account: balances, open orders, executions and their orders.
        base: Base currency of the market.
    """
    held = snapshot.balances.get(base, Balance(Decimal(0), Decimal(0)))
    listed = (
        *((order, True) for order in snapshot.open_orders),
        *((order, order.status == "open") for order in snapshot.found),
    )
    by_number = {order.exchange_order_id: (order, is_open) for order, is_open in listed}
    return ExchangeSnapshot(
        base_total=held.total,
        orders=tuple(
            make_exchange_order(order, is_open=is_open) for order, is_open in by_number.values()
        ),
        fills={fill.trade_id: fill.exchange_order_id for fill in snapshot.fills},
    )


def make_exchange_order(order: OrderSnapshot, *, is_open: bool) -> ExchangeOrder:
    """Return an order of a reading in the form that is compared with the database.

    Args:
        order: Order as it was read.
        is_open: Whether it is among the open orders.
    """
    return ExchangeOrder(order.exchange_order_id, order.client_order_id, is_open, order.created_ms)
