"""Live orders with spread, rounding and fees in coin: each difference has one named cause."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from backtest_fills import DIPS, EXITS, make_account
from bounded_run import run_bounded
from live_desk import QUICK
from live_steps import BALANCE, LIMITS, find_first_trade_hours, step_hours
from onetape.store.account_reading import read_traded_series
from onetape.store.database import open_store
from onetape.store.market_data import save_trading_rules
from session_harness import KEY, open_market, open_session
from trader.settings import TraderSettings
from trader.settings_reload import make_session_rules
from trader.traded_report.account import compare_account

StrategyFile = Callable[..., str]

#: Hours that are compared with the backtest; `make live-parity` trades a month.
HOURS = int(os.environ.get("ONETAPE_LIVE_PARITY_HOURS", "12"))


#: What a cause begins with; `rounding` and `another signal` are none: nothing is left to them.
NAMES = (
    "spread at the entry: ",
    "spread at the exit: ",
    "stop: ",
    "target: ",
    "size: ",
    "fees: ",
    "fee in coin: ",
    "left over: ",
    "re-entry: ",
    "entered ",
    "sold ",
    "still open; backtest: ",
    "the trader held a position already",
    "the backtest held a position already",
    "the backtest was in the cooldown after an exit",
)


def find_cause_name(cause: str) -> str:
    (name,) = [one for one in NAMES if cause.startswith(one)] or pytest.fail(cause)
    return name


@pytest.mark.parametrize("exits", EXITS if HOURS > 100 else ["stop and target"])
def test_each_difference_between_live_orders_and_backtest_has_one_named_cause(
    db: Path, strategy_file: StrategyFile, exits: str
) -> None:
    name = strategy_file(DIPS, "dips")
    account = make_account("all_in", EXITS[exits])
    rules = make_session_rules(TraderSettings(exchange="simulator", account=account))

    async def scene() -> None:
        async with open_market(0.0, balance=BALANCE) as opened:
            opened.simulator.faults.add(kind="thin_book", levels=1_000, amount=0.05, ticks=500)
            await opened.go_to(find_first_trade_hours(opened, 0))
            async with open_session(
                opened, db, strategy=name, account=account, cash="10000", live=QUICK, risk=LIMITS,
                rules=rules,
            ) as trading:  # fmt: skip
                save_trading_rules(
                    trading.store, *KEY.names[:2], trading.context.market.trading_rules, 0
                )
                await step_hours(opened, trading, range(HOURS))

    run_bounded(scene(), 180.0 + 3.0 * HOURS)
    with open_store(db, create=False) as store:
        found = compare_account(store, read_traded_series(store), (name,))
    assert len(found.positions) > HOURS // 12
    assert found.differences
    parts = [(one.symbol, one.what, find_cause_name(one.cause)) for one in found.differences]
    assert len(set(parts)) == len(parts)
    money = sum(one.money for one in found.differences)
    assert money == pytest.approx(found.total, abs=1e-6)
