"""Readings of the account as the exchange's record of one market, for a comparison with ours."""

from decimal import Decimal

from onetape.exchange.trading_records import Balance, OrderSnapshot
from onetape.execution.reconcile import ExchangeOrder, ExchangeSnapshot
from trader.brokers.live_records import AccountSnapshot


def exchange_side(snapshot: AccountSnapshot, base: str) -> ExchangeSnapshot:
    """Return a reading of the account as the exchange's record of one market.

    Args:
        snapshot: The reading.
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
        orders=tuple(exchange_order(one, is_open=is_open) for one, is_open in by_number.values()),
        fills={fill.trade_id: fill.exchange_order_id for fill in snapshot.fills},
    )


def exchange_order(order: OrderSnapshot, *, is_open: bool) -> ExchangeOrder:
    """Return an order of a reading as the exchange's record has it.

    Args:
        order: Order as it was read.
        is_open: Whether it is among the open orders.
    """
    return ExchangeOrder(order.exchange_order_id, order.client_order_id, is_open, order.created_ms)
