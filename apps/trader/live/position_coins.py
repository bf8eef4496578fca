"""Computes the part of a position that is on the account, and the part that an order may sell."""

from decimal import Decimal

from onetape.execution.reconcile import LedgerSnapshot, compute_covered
from onetape.store.compared_balances import (
    ComparedBalance,
    read_compared_balance,
    store_compared_balance,
)
from onetape.store.live_accounts import LiveAccount, read_live_account
from trader.live.book import LiveBook
from trader.live.booked_coins import sum_booked_coins, sum_executed, sum_unbooked

_ZERO = Decimal(0)


class PositionCoins:
    """Coins of one symbol's position that the last reading of the account shows."""

    def __init__(self, book: LiveBook) -> None:
        """Initialise; nothing is missing before the first reading."""
        self._book = book
        self._before: Decimal | None = None
        self.covered = _ZERO
        """Amount of the position that is in the account, base currency."""
        self.is_short = False
        """Whether coins of the position are missing: gone, or sold by others and hidden by the
        account's own coins."""
        self.sold = _ZERO
        """Amount of the position that others have sold, by executions read, base currency."""
        self._missing = _ZERO
        """Amount of the position that no order may sell, base currency."""
        self._needed: Decimal | None = None
        """Balance of the account if no coins of positions were missing, base currency; None: not
        computed since the last reading."""
        self._complete: Decimal | None = None
        """Balance of the last reading, base currency, if nothing was missing in it; else None."""

    @property
    def before(self) -> Decimal | None:
        """Return the balance before the account's first session; None: not stored."""
        if self._before is None:
            context = self._book.context
            account = read_live_account(context.store, context.session.account)
            if account is not None:
                self._before = account.baseline.get(context.market.base, _ZERO)
        return self._before

    def measure(self, ledger: LedgerSnapshot, total: Decimal) -> None:
        """Compare the position with the account's balance of its base currency."""
        self.covered = compute_covered(ledger, total)
        self.is_short = self.covered < ledger.position
        self._needed = None
        # A balance may be shown late; executions of others are facts.
        self.sold = ledger.position - self.covered if total >= ledger.position else _ZERO
        safe = self.covered
        if total < ledger.position:
            # The coins on the account may be its own.
            safe = _ZERO if self.before is None else max(total - self.before, _ZERO)
        self._missing = ledger.position - safe

    def may_hide_sales(self, total: Decimal) -> bool:
        """Return whether others may have sold coins of the position without a trace in the balance.

        Others may have sold some if the account has more coins than the position's, and less than
        the balance before its first session (or at the last complete reading) plus all coins bought
        since.

        Args:
            total: Balance of the account, base currency.
        """
        position = self._book.position
        if position.is_flat or total <= position.own:
            return False
        needed = self._compute_needed()
        return needed is None or total < needed

    def compute_shortfall(self, total: Decimal) -> Decimal:
        """Return the coins that the account lacks of its own and all positions', base currency.

        If that is unknown, the whole position is returned.

        Args:
            total: Balance of the account, base currency.
        """
        needed = self._compute_needed()
        return self._book.position.own if needed is None else max(needed - total, _ZERO)

    def note_complete(self, total: Decimal, read_ms: int) -> None:
        """Store the balance, because nothing is missing: coins of the account's own may have left.

        Two readings in a row have to agree: a balance may be shown late. Nothing is stored while
        another position of the account at the exchange has such coins: they may be missing there.

        Args:
            total: Balance of the account in the reading, base currency.
            read_ms: Exchange time of the reading, epoch milliseconds.

        Raises:
            SafetyRefusal: another process took the account over.
            StoreError: the file cannot be read or written.
        """
        last, self._complete = self._complete, total
        account = self._read_account()
        if account is None or last != total or self._compute_needed() == total:
            return
        book, place = self._book, self._place(account)
        if sum_booked_coins(book.context.store, *place) > max(book.position.base, _ZERO):
            return
        found = ComparedBalance(total, read_ms)
        store_compared_balance(book.context.store, *place, found, book.fence)
        self._needed = None

    def note_incomplete(self) -> None:
        """Note that coins are missing in the last reading, or are not known yet."""
        self._complete = None

    def _read_account(self) -> LiveAccount | None:
        context = self._book.context
        return read_live_account(context.store, context.session.account)

    def _place(self, account: LiveAccount) -> tuple[str, str, str]:
        """Return exchange, the exchange's id of the account, and base currency."""
        return account.exchange, account.exchange_account, self._book.context.market.base

    def _compute_needed(self) -> Decimal | None:
        """Return the balance with which no coin is missing, base currency; None: unknown.

        After a complete reading it is the balance of that reading plus the changes by own orders
        since.
        """
        account = self._read_account()
        if account is None:
            return None
        if self._needed is None:
            store, place = self._book.context.store, self._place(account)
            compared = read_compared_balance(store, *place)
            if compared is None:
                self._needed = account.baseline.get(place[-1], _ZERO) + sum_booked_coins(
                    store, *place
                )
            else:
                moved = sum_executed(store, *place, after_ms=compared.read_ms)
                self._needed = compared.total + moved + sum_unbooked(store, *place)
        return self._needed

    def note_correction(self) -> None:
        """Note that missing coins were removed from the position or the account's earlier coins."""
        self._missing, self.is_short, self._before = _ZERO, False, None
        self._needed = self._complete = None
        self.sold = _ZERO

    def compute_sellable(self, total: Decimal, *, is_missing: bool) -> Decimal:
        """Return the base currency that an order may sell, without coins of the account's own.

        Dust of earlier positions counts as far as the account has it beyond its own coins and the
        position: it may have been converted.

        Args:
            total: Balance of the account, base currency.
            is_missing: Whether coins of the position are known to be missing; they are left out.
        """
        position = self._book.position
        if position.is_flat:
            return _ZERO
        beyond = total - (self.before or _ZERO) - position.own
        dust = max(min(position.carried, beyond), _ZERO)
        missing = self._missing if is_missing else _ZERO
        return max(position.own - missing, _ZERO) + dust
