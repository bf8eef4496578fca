"""Makes the record of a new order (an intent), before it is stored and sent."""

from decimal import Decimal

from onetape.core.trading import Order, Session, Side
from onetape.store.market_data import BestPrices


def make_order(
    session: Session,
    client_order_id: str,
    side: Side,
    type_: str,
    price: Decimal,
    reason: str,
    *,
    signal_timestamp: int,
    decided_ms: int,
    ticker: BestPrices | None = None,
    decision: str | None = None,
    entry_order_id: str | None = None,
    obligation: str | None = None,
    amount: Decimal | None = None,
    stop_price: Decimal | None = None,
) -> Order:
    """Return an order with status `intent`; it is neither stored nor sent.

    Args:
        session: Session of the order.
        client_order_id: New client order id.
        side: Buy or sell.
        type_: CCXT's order type (`market`), or the cause of the exit: `stop_loss`, `command` ...
        price: Price that the decision is based on (a close, or a level), quote currency.
        reason: Reason as a text.
        signal_timestamp: Open of the candle that gave the signal or reached the level, epoch
            SECONDS.
        decided_ms: Market time of the decision, epoch milliseconds.
        ticker: Current bid and ask; None: unknown, or irrelevant.
        decision: Id of the strategy's decision; None: the strategy did not decide this order.
        entry_order_id: Client order id of the entry of the position that is sold; None for a buy.
        obligation: Id of the exit obligation that the order carries out; None for an entry.
        amount: Base currency; None: the amount is computed when the order is sent.
        stop_price: Trigger price of a stop that rests at the exchange; None: the order is no stop.
    """
    return Order(
        client_order_id=client_order_id,
        session=session.session,
        mode=session.mode,
        account=session.account,
        exchange=session.exchange,
        symbol=session.symbol,
        timeframe=session.timeframe,
        side=side,
        type=type_,
        status="intent",
        decision=decision,
        signal_timestamp=signal_timestamp,
        decided_ms=decided_ms,
        bid=None if ticker is None else ticker.bid,
        ask=None if ticker is None else ticker.ask,
        intended_price=price,
        reason=reason,
        strategy=session.strategy,
        parameters=session.parameters,
        code_digest=session.code_digest,
        entry_order_id=entry_order_id,
        obligation=obligation,
        ordered_amount=amount,
        stop_price=stop_price,
        is_protection=stop_price is not None,
    )
