"""The money of one account: what an entry may spend, and the account value that sizes it.

An entry at the open of a candle gets the cash and the equity that the backtest has there: a
position that was sold inside that candle still counts as held, and its proceeds count from the next
open on. A limit order to buy that was filled or cancelled in that candle still counts as open.
Equity counts reserved money as cash. Positions and reserved money of other processes that trade the
account count too.
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Protocol

from msgspec import Struct

from onetape.core.candles import SeriesKey
from onetape.core.symbols import split_symbol
from onetape.core.trading import Fill, Mode
from onetape.engine import ModelFill, RefusedOrder
from onetape.execution.positions import Position, sum_position
from onetape.store.accounts import read_account_series
from onetape.store.candles import read_last_closed
from onetape.store.database import Store
from onetape.store.leases import Fence
from onetape.store.ledger import read_fills
from onetape.store.orders import read_filled_timestamp
from onetape.store.reservations import AccountCash, FeeSum, read_reserved_symbols
from trader.account_rules import AccountRules


class SymbolFills(Protocol):
    """Fills and position of one symbol that this process trades; `OrderBooking` implements it."""

    @property
    def fills(self) -> Sequence[Fill]:
        """Return the fills of the symbol, oldest first."""
        ...

    @property
    def position(self) -> Position:
        """Return the position that the fills add up to."""
        ...


class _LimitMoney(Struct, frozen=True):
    """Money of a limit order to buy, quote currency."""

    reserved: Decimal
    """Money that was reserved when the order was sent."""
    spent: Decimal
    """Money that its fill has cost, fee included; 0: it was not filled."""


class AccountFunds:
    """Cash, reservations and equity of one account; one for all symbols of this process."""

    def __init__(self, store: Store, account: str, mode: Mode, rules: AccountRules) -> None:
        """Initialise; nothing is read yet.

        Args:
            store: The open database, which holds the account.
            account: Account whose money is reserved.
            mode: Mode of the account: paper or live.
            rules: State which positions were sold inside a candle, and how many slots are taken.
        """
        self._store = store
        self._account = account
        self._mode: Mode = mode
        self._rules = rules
        self._cash = AccountCash(store, account, mode)
        self._symbols: dict[str, tuple[SeriesKey, SymbolFills]] = {}
        """Symbols of this process, with the objects that have their fills."""
        self._limits: dict[str, tuple[str, Decimal]] = {}
        """Client order id and reserved money of the last limit order to buy of each symbol."""

    def attach(self, key: SeriesKey, fills: SymbolFills) -> None:
        """Read the fills of a symbol from an object of this process instead of the database.

        Args:
            key: Series of the symbol.
            fills: Object that has the fills of the symbol, always up to date.
        """
        self._symbols[key.symbol] = key, fills

    def read_cash(self) -> Decimal:
        """Return the cash of the account, quote currency, by all stored fills.

        Raises:
            StoreError: the file cannot be read.
        """
        return self._cash.read()

    @property
    def other_fees(self) -> Mapping[str, FeeSum]:
        """Return the fees paid in third currencies, by currency, at the last reading of the cash.

        Such fees are part neither of the cash nor of a position.
        """
        return self._cash.other_fees

    def reserve(
        self,
        client_order_id: str,
        symbol: str,
        fence: Fence,
        size: Callable[[float, float | None], ModelFill | RefusedOrder],
        *,
        moment: int,
        now_ms: int,
        is_limit: bool = False,
    ) -> ModelFill | RefusedOrder:
        """Reserve money and slot of an order to buy, and return its fill; or return the refusal.

        Args:
            client_order_id: The order, whose intent is stored.
            symbol: Symbol that the order buys.
            fence: The lease of account and symbol.
            size: Called with free cash and equity (None: neither a position nor reserved money,
                equity is the cash), quote currency; returns the fill by the engine's rules.
            moment: Open of the candle that fills the order, epoch seconds.
            now_ms: Market time, epoch milliseconds.
            is_limit: Whether the order stays open at a limit price, with its money reserved.

        Raises:
            StoreError: the file cannot be written.
            SafetyRefusal: another process trades the symbol.
        """
        found: list[ModelFill | RefusedOrder] = []

        def choose(free: Decimal) -> Decimal:
            """Return the amount to reserve of the free cash; 0 for a refusal."""
            no_slot = self._find_slot_refusal(symbol, moment)
            if no_slot is not None:
                found.append(no_slot)
                return Decimal(0)
            fill = size(*self._compute_money_at_open(free, moment))
            found.append(fill)
            if isinstance(fill, RefusedOrder):
                return Decimal(0)
            return min(Decimal(repr(-fill.cash_change)), free)

        reserved = self._cash.reserve(client_order_id, fence, choose, reserved_ms=now_ms)
        if is_limit and reserved:
            self._limits[symbol] = client_order_id, reserved
        return found[0]

    def _find_slot_refusal(self, symbol: str, moment: int) -> RefusedOrder | None:
        """Return a refusal if all slots of all processes are taken; None: one is free."""
        most = self._rules.most_positions
        if most is None:
            return None
        elsewhere = {(key.exchange, key.symbol) for key, _ in self._read_positions_elsewhere()}
        elsewhere |= {
            one
            for one in read_reserved_symbols(self._store, self._account, self._mode)
            if one[1] not in self._symbols
        }
        taken = self._rules.count_taken_slots(symbol, moment) + len(elsewhere)
        return RefusedOrder("slots_taken", taken, most) if taken >= most else None

    def compute_equity(self, price_of: Callable[[SeriesKey], Decimal | None]) -> Decimal | None:
        """Return cash plus positions at given prices, quote currency; None if a price is unknown.

        Fees in third currencies are not deducted (`other_fees`).

        Args:
            price_of: Returns the price of a series now, quote currency; None: not known.

        Raises:
            StoreError: the file cannot be read.
        """
        # One snapshot: a fill of another process between two reads would count twice or not at all.
        with self._store.read():
            positions = self._collect_open_positions()
            prices = [price_of(key) for key, _ in positions]
            cash = self.read_cash()
        if None in prices:
            return None
        values = (
            base * (price or Decimal(0)) for (_, base), price in zip(positions, prices, strict=True)
        )
        return sum(values, cash)

    def count_other_positions(self, symbol: str) -> int:
        """Return the number of other symbols of the account with a position or an entry on its way.

        Symbols of other processes count too. Call it inside the transaction of a reservation: no
        other process can add an entry meanwhile.

        Raises:
            StoreError: the file cannot be read.
        """
        taken = {(key.exchange, key.symbol) for key, _ in self._collect_open_positions()}
        taken |= read_reserved_symbols(self._store, self._account, self._mode)
        return sum(other != symbol for _, other in taken)

    def _collect_open_positions(self) -> list[tuple[SeriesKey, Decimal]]:
        """Return series and base amount of each open position, those of other processes too."""
        own = [
            (key, traded.position.base)
            for key, traded in self._symbols.values()
            if not traded.position.is_flat
        ]
        return [*own, *self._read_positions_elsewhere()]

    def _find_exit_inside_candle(self, symbol: str, moment: int) -> Fill | None:
        """Return the fill that closed a position inside the candle with this open, or None."""
        state = self._rules.state.symbols.get(symbol)
        if state is None or state.sold_inside is None or state.sold_inside < moment:
            return None
        fills = self._symbols[symbol][1].fills
        return fills[-1] if fills and fills[-1].side == "sell" else None

    def _sum_proceeds_inside_candle(self, moment: int) -> Decimal:
        """Return the proceeds of positions sold inside the candle of an open, quote currency."""
        brought = Decimal(0)
        for symbol in self._symbols:
            sold = self._find_exit_inside_candle(symbol, moment)
            if sold is not None:
                brought += sold.price * sold.amount - sold.fee
        return brought

    def _find_limits_in_candle(self, moment: int) -> dict[str, _LimitMoney]:
        """Return the limit orders that ended in the candle of an open or later, by symbol."""
        reserved = read_reserved_symbols(self._store, self._account, self._mode)
        found: dict[str, _LimitMoney] = {}
        for symbol, (order, amount) in self._limits.items():
            key, traded = self._symbols[symbol]
            if (key.exchange, symbol) in reserved:
                # The order is open: its money is reserved, also if the rules have just ended it.
                continue
            ended = read_filled_timestamp(self._store, order)
            if ended is None and symbol in self._rules.state.symbols:
                ended = self._rules.state.symbols[symbol].limit_ended
            if ended is not None and ended >= moment:
                quote = split_symbol(symbol)[1]
                fills = [fill for fill in traded.fills if fill.client_order_id == order]
                spent = sum((fill.price * fill.amount for fill in fills), Decimal(0))
                fees = [fill.fee for fill in fills if fill.fee_currency == quote]
                found[symbol] = _LimitMoney(amount, sum(fees, spent))
        return found

    def _compute_money_at_open(self, free: Decimal, moment: int) -> tuple[float, float | None]:
        """Return the cash and the equity that the backtest has at an open, quote currency.

        Args:
            free: Cash that is not reserved now, quote currency.
            moment: The open, epoch seconds.

        Returns:
            The equity is None with neither a position nor reserved money.
        """
        limits = self._find_limits_in_candle(moment)
        later = self._sum_proceeds_inside_candle(moment)
        later += sum((one.reserved - one.spent for one in limits.values()), Decimal(0))
        cash = max(free - later, Decimal(0))
        # Reserved money is part of the equity until the order is filled.
        reserved = max(self.read_cash() - free, Decimal(0))
        reserved += sum((one.reserved for one in limits.values()), Decimal(0))
        held = self._compute_values_at_open(moment, limits)
        if not held and not reserved:
            return float(cash), None
        return float(cash), sum(held, float(cash + reserved))

    def _compute_values_at_open(
        self, moment: int, limits: Mapping[str, _LimitMoney]
    ) -> list[float]:
        """Return the values of the positions at an open, at the closes before it.

        Args:
            moment: The open, epoch seconds.
            limits: Limit orders that were still open at that open, by symbol.
        """
        values: list[float] = []
        for symbol in self._rules.rules.symbols:
            if symbol not in self._symbols or symbol in limits:
                continue
            key, traded = self._symbols[symbol]
            base = Decimal(0) if traded.position.is_flat else traded.position.base
            sold = self._find_exit_inside_candle(symbol, moment)
            if sold is not None:
                base += sold.amount
            if base:
                values.append(float(base) * self._read_close_before(key, moment))
        for key, base in self._read_positions_elsewhere():
            values.append(float(base) * self._read_close_before(key, moment))
        return values

    def _read_positions_elsewhere(self) -> list[tuple[SeriesKey, Decimal]]:
        """Return series and base amount of the positions that other processes trade."""
        found: list[tuple[SeriesKey, Decimal]] = []
        for one in read_account_series(self._store, self._account):
            if one.symbol in self._symbols:
                continue
            fills = read_fills(
                self._store, self._account, one.symbol, exchange=one.exchange, mode=self._mode
            )
            position = sum_position(fills, *split_symbol(one.symbol))
            if not position.is_flat:
                found.append((SeriesKey(one.exchange, one.symbol, one.timeframe), position.base))
        return found

    def _read_close_before(self, key: SeriesKey, moment: int) -> float:
        """Return the newest close before an open, quote currency; 0 if none is stored."""
        known = read_last_closed(self._store, key, 1, up_to=moment - 1)
        return float(known.close[-1]) if len(known) else 0.0
