"""Keeps the risk state of an account in the database, and decides whether an order may be sent."""

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
    """The limits of one account. Breaches are rows, so they survive the process."""

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
        """State of the limits after the last computation; None: the equity was not known yet."""

    def look(self, equity: Decimal | None, now_ms: int, *, orders: int = 0) -> RiskState | None:
        """Measure the equity against the limits and store the result; return the state.

        Args:
            equity: Equity of the account's own ledger, open positions at today's price; None: not
                known, so that the last known one counts on, with the breaches that other processes
                found.
            now_ms: Market time, epoch milliseconds.
            orders: Sent by the account in the last minute.

        Raises:
            StoreError: the file cannot be written.
        """
        accounts = {row.account for row in read_risk_states(self._store)}
        if equity is None and self._account not in accounts:
            return None

        def changed(stored: str | None) -> str:
            if stored is None:
                state = start_risk(self.limits, equity or Decimal(0), now_ms)
            else:
                state = decode_risk_state(stored)
            now = state.equity if equity is None else equity
            return encode_risk_state(advance_risk(self.limits, state, now, now_ms, orders=orders))

        document = change_risk_state(self._store, self._account, changed, now_ms=_get_wall_ms())
        self.state = decode_risk_state(document)
        return self.state

    def limit_cost(self, terms: EntryTerms) -> Decimal:
        """Return the allowed cost of an entry: as requested, or less because of limits."""
        return limit_entry_cost(self.limits, terms)

    def find_entry_obstacle(self, terms: EntryTerms, market: MarketView) -> str | None:
        """Return the reason why a buy may not be sent; None: it may."""
        return find_obstacle(check_entry_limits(self.limits, self.state, terms, market))

    def find_exit_obstacle(self, terms: ExitTerms) -> str | None:
        """Return the reason against a sell, or None."""
        return find_obstacle(check_exit_limits(terms))


def clear_risk(store: Store, account: str, *, cleared_by: str) -> RiskState:
    """Clear the breaches of an account for a person; return the new state.

    Raises:
        DataError: the account has no risk state.
        StoreError: the file cannot be written.
    """

    def changed(stored: str | None) -> str:
        if stored is None:
            raise DataError(f"{account} has no limits that could be passed: it never traded live")
        return encode_risk_state(clear_breaches(decode_risk_state(stored)))

    document = change_risk_state(
        store, account, changed, now_ms=_get_wall_ms(), cleared_by=cleared_by
    )
    return decode_risk_state(document)


def decode_risk_state(document: str) -> RiskState:
    """Return the risk state of a stored document.

    Raises:
        DataError: the document is of another version.
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
