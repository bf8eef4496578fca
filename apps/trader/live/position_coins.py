"""Computes which coins of a position are still in the account, and how many an order may sell.

The account may have had coins before its first session (the baseline), which are never sold. Other
programs and persons may have sold coins of the position, and the balance alone does not show whose
coins they sold. So the balance is compared with the one at which no coin was missing.
"""

from decimal import Decimal

from onetape.execution.reconcile import LedgerSnapshot, compute_covered_amount
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
        self._baseline: Decimal | None = None
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
        """Balance that the account has if no coin is missing, base currency; None: not computed
        since the last reading."""
        self._complete: Decimal | None = None
        """Balance of the last reading, base currency; None: coins were missing in that reading."""

    @property
    def baseline(self) -> Decimal | None:
        """Return the balance before the account's first session; None: not stored."""
        if self._baseline is None:
            context = self._book.context
            account = read_live_account(context.store, context.session.account)
            if account is not None:
                self._baseline = account.baseline.get(context.market.base, _ZERO)
        return self._baseline

    def measure(self, ledger: LedgerSnapshot, total: Decimal) -> None:
        """Compare the position with the account's balance; sets `covered`, `is_short` and `sold`.

        Args:
            ledger: The database's record of the market.
            total: Balance of the account, base currency.
        """
        self.covered = compute_covered_amount(ledger, total)
        self.is_short = self.covered < ledger.position
        self._needed = None
        # A balance may be shown late; executions of others are facts.
        self.sold = ledger.position - self.covered if total >= ledger.position else _ZERO
        safe = self.covered
        if total < ledger.position:
            # The coins on the account may be its own.
            safe = _ZERO if self.baseline is None else max(total - self.baseline, _ZERO)
        self._missing = ledger.position - safe

    def may_hide_sales(self, total: Decimal) -> bool:
        """Return whether others may have sold coins of the position although the balance covers it.

        That is so if the account has more coins than the position, and fewer than the baseline (or
        the balance of the last complete reading) plus all coins bought since.

        Args:
            total: Balance of the account, base currency.
        """
        position = self._book.position
        if position.is_flat or total <= position.open_amount:
            return False
        needed = self._compute_needed()
        return needed is None or total < needed

    def compute_shortfall(self, total: Decimal) -> Decimal:
        """Return the coins that the account lacks of baseline and positions, base currency.

        If that is unknown, the amount of the whole position is returned.

        Args:
            total: Balance of the account, base currency.
        """
        needed = self._compute_needed()
        return self._book.position.open_amount if needed is None else max(needed - total, _ZERO)

    def note_complete(self, total: Decimal, read_ms: int) -> None:
        """Store the balance of a reading in which no coin is missing, for later comparisons.

        It is stored if two readings in a row have the same balance, because a balance may be shown
        late; and if no other account of the database has a position in the same coins, which may be
        missing there.

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
        book, account_key = self._book, self._get_account_key(account)
        if sum_booked_coins(book.context.store, *account_key) > max(book.position.base, _ZERO):
            return
        found = ComparedBalance(total, read_ms)
        store_compared_balance(book.context.store, *account_key, found, book.fence)
        self._needed = None

    def note_incomplete(self) -> None:
        """Note that coins are missing in the last reading, or are not known yet."""
        self._complete = None

    def _read_account(self) -> LiveAccount | None:
        context = self._book.context
        return read_live_account(context.store, context.session.account)

    def _get_account_key(self, account: LiveAccount) -> tuple[str, str, str]:
        """Return the key of the stored balance: exchange, exchange's id of the account, coin."""
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
            store, account_key = self._book.context.store, self._get_account_key(account)
            compared = read_compared_balance(store, *account_key)
            if compared is None:
                self._needed = account.baseline.get(account_key[-1], _ZERO) + sum_booked_coins(
                    store, *account_key
                )
            else:
                moved = sum_executed(store, *account_key, after_ms=compared.read_ms)
                self._needed = compared.total + moved + sum_unbooked(store, *account_key)
        return self._needed

    def note_correction(self) -> None:
        """Note that coins were removed from the position, or that the baseline was reduced."""
        self._missing, self.is_short, self._baseline = _ZERO, False, None
        self._needed = self._complete = None
        self.sold = _ZERO

    def compute_sellable(self, total: Decimal, *, is_missing: bool) -> Decimal:
        """Return the base currency that an order may sell: position and dust, not the baseline.

        Dust of earlier positions may have been converted, so it counts only as far as the account
        has more than baseline and position.

        Args:
            total: Balance of the account, base currency.
            is_missing: Whether coins of the position are known to be missing; they are left out.
        """
        position = self._book.position
        if position.is_flat:
            return _ZERO
        beyond = total - (self.baseline or _ZERO) - position.open_amount
        dust = max(min(position.earlier_dust, beyond), _ZERO)
        missing = self._missing if is_missing else _ZERO
        return max(position.open_amount - missing, _ZERO) + dust
