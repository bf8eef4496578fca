"""The loss limits of a live account: measures the equity, stores passed limits, checks orders.

The state of the limits is a row of the table `risk_states`, so a passed limit forbids entries after
a restart too, until a person clears it (`trader risk --clear`).
"""

import time
from decimal import Decimal

import msgspec

from onetape.core.errors import DataError
from onetape.execution.limit_checks import (
    EntryTerms,
    ExitTerms,
    MarketView,
    check_entry_limits,
    check_exit_limits,
    limit_entry_cost,
)
from onetape.execution.risk import find_obstacle
from onetape.execution.risk_limits import RiskLimits
from onetape.execution.risk_state import RiskState, advance_risk, clear_breaches, start_risk
from onetape.store.database import Store
from onetape.store.risk_states import change_risk_state, read_risk_states


class RiskGuard:
    """Loss limits of one account, with their state in the database."""

    def __init__(self, store: Store, account: str, limits: RiskLimits) -> None:
        """Initialise; the stored state is read with the first computation of the equity.

        Args:
            store: The open database.
            account: Name of the account.
            limits: Limits of the settings.
        """
        self._store = store
        self._account = account
        self.limits = limits
        self.state: RiskState | None = None
        """State after the last call of `measure`; None: the equity was not known yet."""

    def measure(self, equity: Decimal | None, now_ms: int, *, orders: int = 0) -> RiskState | None:
        """Measure the equity against the limits, and store the result.

        Args:
            equity: Cash plus positions of the account at their present prices, quote currency;
                None: not known, so that the last known equity counts.
            now_ms: Market time, epoch milliseconds.
            orders: Number of orders that the account sent in the last minute.

        Returns:
            The state, with limits that other processes found to be passed; None: the equity was
            never known.

        Raises:
            StoreError: the file cannot be written.
        """
        accounts = {row.account for row in read_risk_states(self._store)}
        if equity is None and self._account not in accounts:
            return None

        def advance_stored(stored: str | None) -> str:
            if stored is None:
                state = start_risk(self.limits, equity or Decimal(0), now_ms)
            else:
                state = decode_risk_state(stored)
            now = state.equity if equity is None else equity
            return encode_risk_state(advance_risk(self.limits, state, now, now_ms, orders=orders))

        document = change_risk_state(
            self._store, self._account, advance_stored, now_ms=_get_wall_ms()
        )
        self.state = decode_risk_state(document)
        return self.state

    def limit_cost(self, terms: EntryTerms) -> Decimal:
        """Return the cost of an entry that the limits allow: as requested, or less."""
        return limit_entry_cost(self.limits, terms)

    def find_entry_obstacle(self, terms: EntryTerms, market: MarketView) -> str | None:
        """Return the reason why a buy may not be sent; None: it may."""
        return find_obstacle(check_entry_limits(self.limits, self.state, terms, market))

    def find_exit_obstacle(self, terms: ExitTerms) -> str | None:
        """Return the reason why a sell may not be sent; None: it may."""
        return find_obstacle(check_exit_limits(terms))


def clear_risk(store: Store, account: str, *, cleared_by: str) -> RiskState:
    """Clear the passed limits of an account for a person; return the new state.

    Args:
        store: The open database.
        account: Name of the account.
        cleared_by: Person, as user and computer; stored with the state.

    Raises:
        DataError: the account has no risk state.
        StoreError: the file cannot be written.
    """

    def clear_stored(stored: str | None) -> str:
        if stored is None:
            raise DataError(f"{account} has no limits that could be passed: it never traded live")
        return encode_risk_state(clear_breaches(decode_risk_state(stored)))

    document = change_risk_state(
        store, account, clear_stored, now_ms=_get_wall_ms(), cleared_by=cleared_by
    )
    return decode_risk_state(document)


def decode_risk_state(document: str) -> RiskState:
    """Return the risk state of a stored document.

    Raises:
        DataError: the document cannot be read, because another version has stored it.
    """
    try:
        return msgspec.json.decode(document, type=RiskState)
    except msgspec.MsgspecError as error:
        raise DataError(f"a risk state cannot be read ({error})") from error


def encode_risk_state(state: RiskState) -> str:
    """Return a risk state as a JSON document."""
    return msgspec.json.encode(state).decode()


def _get_wall_ms() -> int:
    return time.time_ns() // 1_000_000
