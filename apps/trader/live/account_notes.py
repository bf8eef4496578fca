"""Prints changes of the account's balances that others have caused: deposits, orders by hand.

These changes leave every position covered, so a line is all that follows. A change counts once two
readings in a row show it, because one reading may fall between an execution and its booking.
"""

from collections.abc import Mapping
from decimal import Decimal

from onetape.cli.output import print_line
from onetape.exchange.trading_records import Balance
from onetape.store.accounts import read_account_series
from trader.live.book import LiveBook

_ZERO = Decimal(0)


class AccountNotes:
    """Changes of balances by others, as found by one symbol's session."""

    def __init__(self, book: LiveBook) -> None:
        """Begin; later readings of the account are compared with the first one."""
        self._book = book
        self._known: dict[str, Decimal] | None = None
        self._last: dict[str, Decimal] = {}

    def restart(self) -> None:
        """Compare with the next reading from now on: what belongs to the position was corrected."""
        self._known, self._last = None, {}

    def compare_balances(self, balances: Mapping[str, Balance]) -> None:
        """Compare a reading with the earlier ones; print the changes by others.

        Args:
            balances: Balances by currency, read while no own order was under way.
        """
        found = self._compute_other_balances(balances)
        if self._known is None:
            self._known = self._last = found
            return
        for currency in sorted({*found, *self._known}):
            amount = found.get(currency, _ZERO)
            change = amount - self._known.get(currency, _ZERO)
            if change and amount == self._last.get(currency, _ZERO):
                self._known[currency] = amount
                self._print(currency, change)
        self._last = found

    def _print(self, currency: str, change: Decimal) -> None:
        more = "more" if change > 0 else "less"
        text = (
            f"note: the account has {abs(change.normalize()):f} {currency} {more}, and not by this "
            "trader; every position is covered"
        )
        print_line(text, event="account", currency=currency, change=str(change))

    def _compute_other_balances(self, balances: Mapping[str, Balance]) -> dict[str, Decimal]:
        """Return the balances of the account less the effect of the trader's fills, by currency.

        Currencies that several symbols of the account share are left to its first symbol.
        """
        book = self._book
        market, position = book.context.market, book.position
        series = read_account_series(book.context.store, book.context.session.account)
        symbols = [account_series.symbol for account_series in series] or [market.symbol]
        others = {symbol.partition("/")[0] for symbol in symbols if symbol != market.symbol}
        is_first = symbols[0] == market.symbol
        found: dict[str, Decimal] = {}
        for currency in {*balances, market.base, market.quote}:
            held = balances.get(currency, Balance(_ZERO, _ZERO)).total
            if currency == market.base:
                found[currency] = held - position.base
            elif currency in others or not is_first:
                continue
            elif currency == market.quote:
                found[currency] = held - book.funds.read_cash()
            else:
                found[currency] = held + position.fees.get(currency, _ZERO)
        return found
