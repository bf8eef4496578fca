"""Orders, fills and balances as a client reads them: late, while a fault `visibility_delay` lasts.

Real exchanges sometimes show an order, a fill or a balance seconds after its effect.
"""

from collections.abc import Iterable
from decimal import Decimal

from onetape.core.clock import Clock
from onetape.simulator.faults.registry import Call, Faults
from onetape.simulator.market.symbols import SpotSymbol
from onetape.simulator.trading.exchange import Exchange
from onetape.simulator.trading.money import ZERO
from onetape.simulator.trading.orders import SimulatedFill, SimulatedOrder


class AccountReading:
    """Reads the account as of now, or as of some seconds ago (market time) during the fault.

    The exchange itself acts on the present state: an order that is not visible yet can be filled
    and cancelled.
    """

    def __init__(self, exchange: Exchange, clock: Clock, faults: Faults) -> None:
        """Initialise with an account.

        Args:
            exchange: The account and its orders.
            clock: Market time.
            faults: Faults that are set.
        """
        self._exchange = exchange
        self._clock = clock
        self._faults = faults

    def is_ack_only(self, symbol: SpotSymbol) -> bool:
        """Return whether a fault `ack_only` omits status and fills in the next order's reply."""
        call = Call("reply", "a new order", symbol=symbol.id)
        return any(firing.fault.kind == "ack_only" for firing in self._faults.fire(call))

    def get_orders(self) -> Iterable[SimulatedOrder]:
        """Return all orders as a client reads them now, oldest first."""
        seen_ms = self._find_seen_ms("orders")
        if seen_ms is None:
            return self._exchange.orders.values()
        return self._exchange.get_orders_at(seen_ms)

    def find_order(self, order: SimulatedOrder) -> SimulatedOrder | None:
        """Return an order as a client reads it now; None: it is not visible yet."""
        if self._find_seen_ms("orders") is None:
            return order
        return next((visible for visible in self.get_orders() if visible.id == order.id), None)

    def get_fills(self) -> Iterable[SimulatedFill]:
        """Return all visible executions, oldest first."""
        seen_ms = self._find_seen_ms("fills")
        if seen_ms is None:
            return self._exchange.fills
        return [fill for fill in self._exchange.fills if fill.time_ms <= seen_ms]

    def get_balances(self, assets: Iterable[str]) -> list[tuple[str, Decimal, Decimal]]:
        """Return asset, free and locked of these assets as a client reads them now."""
        seen_ms = self._find_seen_ms("balances")
        if seen_ms is None:
            return self._exchange.account.get_rows(assets)
        past = self._exchange.get_balances_at(seen_ms)
        return [(asset, *past.get(asset, (ZERO, ZERO))) for asset in assets]

    def _find_seen_ms(self, content: str) -> int | None:
        """Return the time whose state a client reads, epoch milliseconds; None: now.

        Args:
            content: `orders`, `fills` or `balances`; a fault may delay one of them or all.
        """
        delays = [
            firing.fault.seconds or 0.0
            for firing in self._faults.fire_lasting("visibility_delay", f"reading {content}")
            if firing.fault.variant in ("all", content)
        ]
        return self._clock.now_ms() - round(max(delays) * 1_000) if delays else None
