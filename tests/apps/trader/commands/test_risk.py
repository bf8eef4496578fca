"""`trader risk`: what it shows of live accounts, and how a person lets entries go on."""

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from onetape.execution.risk_limits import DEFAULT_LIMITS
from onetape.store.database import open_store
from traded_accounts import DATABASE, CommandResult, TradedAccount
from trader.risk_guard import RiskGuard

Run = Callable[..., CommandResult]
#: 2024-03-01 12:00 UTC.
NOON_MS = 1_709_294_400_000


@pytest.fixture
def losing(folder: Path, account: TradedAccount) -> str:
    """Return the name of an account that has lost 6 % of a day, and may lose 5."""
    del account
    with open_store(folder / DATABASE, create=False) as store:
        guard = RiskGuard(store, "real", DEFAULT_LIMITS)
        guard.measure(Decimal(10_000), NOON_MS)
        guard.measure(Decimal(9_400), NOON_MS + 60_000)
    return "real"


def test_a_passed_limit_is_shown_until_a_person_clears_it(trader: Run, losing: str) -> None:
    shown = trader("risk")
    assert shown.code == 0
    assert "equity 9,400.00, -600.00 since the start of 2024-03-01" in shown.out
    assert "passed: daily loss 6.00%, allowed under 5.00%; no entries" in shown.out
    assert f"trader risk --clear --account {losing}" in shown.out
    (document,) = json.loads(trader("risk", "--json").out)["accounts"]
    assert [one["limit"] for one in document["breaches"]] == ["daily loss"]
    cleared = trader("risk", "--clear", "--account", losing)
    assert "passed" not in cleared.out
    (document,) = json.loads(trader("risk", "--json").out)["accounts"]
    assert (document["breaches"], document["day_equity"]) == ([], "9400")
    assert "@" in document["cleared_by"] or document["cleared_by"]


def test_clearing_needs_a_name_and_an_account_that_trades_live(trader: Run, losing: str) -> None:
    del losing
    refused = trader("risk", "--clear")
    assert (refused.code, "--account NAME" in refused.err) == (2, True)
    unknown = trader("risk", "--clear", "--account", "other")
    assert (unknown.code, unknown.err.count("\n")) == (4, 1)


def test_without_live_accounts_one_line_is_printed(trader: Run, account: TradedAccount) -> None:
    del account
    shown = trader("risk")
    assert (shown.code, "no account of it has traded live" in shown.out) == (0, True)


def test_an_account_that_is_unknown_or_never_traded_live_is_named(
    trader: Run, account: TradedAccount
) -> None:
    unknown = trader("risk", "--account", "tset")
    assert (unknown.code, unknown.out, unknown.err.count("\n")) == (4, "", 1)
    assert "no account 'tset'; did you mean 'test'?" in unknown.err
    shown = trader("risk", "--account", account.name)
    assert (shown.code, "account test has never traded live" in shown.out) == (0, True)


def test_trader_and_person_change_the_same_row(folder: Path, losing: str, trader: Run) -> None:
    with open_store(folder / DATABASE, create=False) as store:
        guard = RiskGuard(store, losing, DEFAULT_LIMITS)
        state = guard.measure(Decimal(9_400), NOON_MS + 120_000)
        assert state is not None
        assert state.reason is not None
        trader("risk", "--clear", "--account", losing)
        state = guard.measure(Decimal(9_390), NOON_MS + 180_000)
        assert state is not None
        assert state.reason is None


def test_an_unknown_equity_changes_no_limit_and_allows_no_entry(
    folder: Path, account: TradedAccount
) -> None:
    del account
    with open_store(folder / DATABASE, create=False) as store:
        guard = RiskGuard(store, "real", DEFAULT_LIMITS)
        assert guard.measure(None, NOON_MS) is None
