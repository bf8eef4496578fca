"""Protective stops as orders of the ledger."""

from decimal import Decimal

from onetape.core.trading import Order
from trader.live.book import LiveBook


def stop_order(
    book: LiveBook,
    kind: str,
    amount: Decimal,
    price: Decimal,
    now_ms: int,
    reason: str = "protects the position",
) -> Order:
    """Return a stop that protects the open position, as it is stored before it is sent.

    Args:
        book: The orders of the symbol; a position is open.
        kind: `stop_loss` or `trailing_stop`.
        amount: Base currency.
        price: Quote currency.
        now_ms: Market time.
        reason: In words.
    """
    session = book.context.session
    return Order(
        client_order_id=book.new_order_id(),
        session=session.session,
        mode=session.mode,
        account=session.account,
        exchange=session.exchange,
        symbol=session.symbol,
        timeframe=session.timeframe,
        side="sell",
        type=kind,
        status="intent",
        decision=None,
        signal_timestamp=book.context.timeframe.floor(now_ms // 1_000),
        decided_ms=now_ms,
        bid=None,
        ask=None,
        intended_price=price,
        reason=reason,
        strategy=session.strategy,
        parameters=session.parameters,
        code_digest=session.code_digest,
        entry_order_id=book.entry_order_id,
        ordered_amount=amount,
        stop_price=price,
        is_protection=True,
    )
