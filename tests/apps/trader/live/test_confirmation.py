"""A first live entry needs a passed drill and a confirmation; an open position needs neither."""

import asyncio
import os
import pty
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from decimal import Decimal
from pathlib import Path
from typing import IO

import pytest
from msgspec.structs import replace

from live_desk import LiveDesk
from onetape.cli.stop import StopRequest
from onetape.core.errors import SafetyRefusal, UsageError
from onetape.engine import ExitConfig
from onetape.exchange.clients import Endpoint
from onetape.exchange.rest import RestExchange
from onetape.exchange.trading_records import Credentials
from onetape.execution.risk_limits import RiskLimits
from onetape.simulator.embedded import embedded_simulator
from onetape.store.database import open_store
from onetape.store.drills import OWN_STOPS, StoredDrill, insert_drill
from onetape.store.live_accounts import LiveAccount, open_live_account
from traded_accounts import TradedAccount
from trader.config_digest import compute_config_digest
from trader.live.confirmation import FirstEntry, check_first_entry, confirm_first_entry
from trader.live.first_day import compute_first_day_limit
from trader.live.opening import LiveAccess, open_access
from trader.live.start_plan import StartPlan, plan_start
from trader.live.stop_text import format_stop
from trader.run import run_trader
from trader.settings import TraderSettings
from trader.traded_symbols import parse_traded_symbols

NAME = "live binance BTC/USDT 1h"
LIVE = TraderSettings(mode="live", untested_exchange=True)
DAY_MS = 86_400_000


@pytest.fixture
def account(tmp_path: Path) -> Iterator[TradedAccount]:
    """Yield an account without a position."""
    with TradedAccount(tmp_path / "x.db", NAME, mode="live") as one:
        yield one


def store_drill(account: TradedAccount, *, is_passed: bool = True, finished_ms: int = 7) -> None:
    insert_drill(
        account.store, StoredDrill(compute_config_digest(LIVE), finished_ms, is_passed, {})
    )


def check_start(
    account: TradedAccount, settings: TraderSettings = LIVE, *, is_confirmed: bool = False
) -> tuple[StartPlan, FirstEntry]:
    plan = plan_start(account.store, settings, parse_traded_symbols(settings))
    stores = (account.store,)
    return check_first_entry(stores, stores, plan, is_confirmed=is_confirmed)


def test_without_a_passed_drill_of_these_settings_nothing_is_sent(account: TradedAccount) -> None:
    with pytest.raises(SafetyRefusal, match="passed no drill"):
        check_start(account, is_confirmed=True)
    store_drill(account)
    assert check_start(account, is_confirmed=True)[1] == FirstEntry(is_open=True, drill_ms=7)
    with pytest.raises(SafetyRefusal, match="passed no drill"):
        check_start(account, replace(LIVE, timeframe="5m"), is_confirmed=True)
    store_drill(account, is_passed=False, finished_ms=8)
    with pytest.raises(SafetyRefusal, match="did not pass"):
        check_start(account, is_confirmed=True)


def test_real_money_needs_a_flag_and_the_test_network_does_not(account: TradedAccount) -> None:
    store_drill(account)
    plain = replace(LIVE, untested_exchange=False)
    with pytest.raises(SafetyRefusal, match="use --sandbox"):
        check_start(account, plain, is_confirmed=True)
    assert check_start(account, replace(plain, sandbox=True), is_confirmed=True)[1].is_open
    account.fill("buy", "2", "100", 1)
    plan, first = check_start(account, plain, is_confirmed=True)
    assert not first.is_open
    assert "--untested-exchange" in plan.exits_only["BTC/USDT"]


def test_the_stop_on_the_screen_is_that_of_the_settings_and_of_the_strategy() -> None:
    pair = ["BTC/USDT", "ETH/USDT"]
    none, five = ExitConfig(), ExitConfig(stop_loss=0.05)
    column = "the price in the strategy's `stop` column"
    assert format_stop(none, pair, ()).startswith("NONE")
    assert format_stop(five, pair, ()) == "rests on the exchange, 5 % under the entry"
    assert format_stop(none, pair, pair) == (
        f"rests on the exchange, at {column}; NONE after a BUY without a price"
    )
    assert format_stop(five, pair, pair) == (
        f"rests on the exchange, 5 % under the entry; at {column}, where that is higher"
    )
    assert format_stop(five, pair, pair[:1]).endswith(
        f"; at {column} for BTC/USDT, where that is higher"
    )
    assert format_stop(ExitConfig(break_even=0.02), pair, ()).endswith("not at the exchange before")


def test_the_screen_knows_a_stop_of_the_strategy_by_the_drill(account: TradedAccount) -> None:
    results = {OWN_STOPS: ["BTC/USDT"]}
    insert_drill(account.store, StoredDrill(compute_config_digest(LIVE), 7, True, results))
    assert check_start(account, is_confirmed=True)[1].own_stops == ("BTC/USDT",)


def test_live_trading_needs_a_confirmation_by_a_person(account: TradedAccount) -> None:
    store_drill(account)
    with pytest.raises(SafetyRefusal, match="no terminal"):
        check_start(account)
    confirmed = LiveAccount(NAME, "binance", "1", {}, 1, 1)
    open_live_account(account.store, confirmed)
    assert check_start(account)[1] == FirstEntry(is_open=False)
    assert (
        check_start(account, replace(LIVE, timeframe="5m", account_name=NAME))[1].is_open is False
    )


@pytest.mark.parametrize("settings", [TraderSettings(), replace(LIVE, exchange="simulator")])
def test_paper_and_the_simulator_need_no_confirmation(
    account: TradedAccount, settings: TraderSettings
) -> None:
    assert check_start(account, settings)[1] == FirstEntry(is_open=False)


def test_a_coin_as_quote_currency_needs_a_largest_order(account: TradedAccount) -> None:
    settings = replace(LIVE, symbol="ETH/BTC", account_name="coins")
    drill = StoredDrill(compute_config_digest(settings), 7, True, {})
    insert_drill(account.store, drill)
    with pytest.raises(UsageError, match="the first day needs --max-order"):
        check_start(account, settings, is_confirmed=True)
    limited = replace(settings, risk=RiskLimits(max_order=Decimal("0.001")))
    assert check_start(account, limited, is_confirmed=True)[1].is_open


def test_with_a_position_open_a_start_without_drill_or_confirmation_only_exits(
    account: TradedAccount,
) -> None:
    account.fill("buy", "2", "100", 1)
    plan, first = check_start(account)
    assert not first.is_open
    assert "passed no drill" in plan.exits_only["BTC/USDT"]
    store_drill(account)
    plan, first = check_start(account)
    assert not first.is_open
    assert "no terminal" in plan.exits_only["BTC/USDT"]
    plan, first = check_start(account, is_confirmed=True)
    assert first.is_open
    assert not plan.exits_only


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Make stdin a terminal; yield a function that types into it."""
    master, slave = pty.openpty()
    stdin: IO[str] = os.fdopen(slave, "r")
    monkeypatch.setattr(sys, "stdin", stdin)
    yield lambda text: (os.write(master, text.encode()), None)[1]
    stdin.close()
    os.close(master)


def run_confirmation(
    work: Callable[[LiveAccess, StopRequest], None], settings: TraderSettings
) -> bool:
    async def run(url: str) -> bool:
        async with AsyncExitStack() as stack:
            endpoint = Endpoint("simulator", url)
            exchange = await stack.enter_async_context(RestExchange(endpoint))
            access = await open_access(
                exchange, ["BTC/USDT"], stack, Credentials("simulator", "simulator")
            )
            opened = asyncio.Event()
            access.stream.add_listener(lambda event: opened.set())
            await asyncio.wait_for(opened.wait(), 60)
            stop = StopRequest(takes_signals=False)
            work(access, stop)
            plan = StartPlan(settings, tuple(parse_traded_symbols(settings)))
            first = FirstEntry(is_open=True, drill_ms=1_709_251_200_000)
            return await confirm_first_entry(plan, access, first, stop, is_confirmed=False)

    with embedded_simulator(balance={"USDT": Decimal("1240.5")}) as simulator:
        return asyncio.run(run(simulator.url))


def test_the_screen_states_what_may_be_spent_and_lost_and_takes_a_typed_yes(
    terminal: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    settings = replace(
        LIVE,
        cash=Decimal(1_000),
        account=replace(LIVE.account, exits=replace(LIVE.account.exits, stop_loss=0.05)),
    )
    terminal("yes\n")
    assert run_confirmation(lambda access, stop: None, settings)
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"  account         \d+ of simulator", lines[-9])
    assert lines[-8:] == [
        "  trades          BTC/USDT by rsi, 1h candles",
        "  may spend       1,000 USDT of 1,240.5 USDT that are free",
        "  largest order   20 USDT in the first 24 hours, then no limit (--max-order sets one)",
        "  open positions  at most 10",
        "  stop            rests on the exchange, 5 % under the entry",
        "  daily loss      after 50 USDT (5 %) no entries until a person clears it",
        "  drill           passed 2024-03-01 00:00 UTC",
        "type yes to let it trade; anything else ends it:",
    ]


def test_any_other_answer_ends_the_start_and_a_signal_ends_the_question(
    terminal: Callable[[str], None],
) -> None:
    terminal("y\n")
    with pytest.raises(SafetyRefusal, match="not confirmed; nothing was sent"):
        run_confirmation(lambda access, stop: None, LIVE)
    assert not run_confirmation(lambda access, stop: stop.request("SIGTERM"), LIVE)


def test_on_the_first_day_an_entry_is_small_unless_a_setting_states_otherwise(
    run: Callable[..., None],
) -> None:
    async def scenario(desk: LiveDesk) -> None:
        now_ms = desk.exchange.now_ms()
        account = desk.context.session.account
        opened = LiveAccount(account, "simulator", "1", {}, now_ms, now_ms)
        open_live_account(desk.store, opened)
        desk.start()
        order = desk.enter()
        await desk.until(lambda: desk.fills)
        (bought,) = desk.fills
        assert bought.client_order_id == order.client_order_id
        assert 15 < bought.amount * bought.price <= 20

        stated = RiskLimits(max_order=Decimal(500))
        assert compute_first_day_limit(stated, opened, "USDT", now_ms) is None
        assert compute_first_day_limit(RiskLimits(), opened, "USDT", now_ms + DAY_MS - 1) == 20
        assert compute_first_day_limit(RiskLimits(), opened, "USDT", now_ms + DAY_MS) is None
        assert compute_first_day_limit(stated, opened, "BTC", now_ms) is None
        assert compute_first_day_limit(RiskLimits(), opened, "BTC", now_ms + DAY_MS - 1) == 0

    run(scenario)


def test_real_money_is_refused_before_the_exchange_gets_a_request(tmp_path: Path) -> None:
    settings = replace(LIVE, db=tmp_path / "x.db")
    with pytest.raises(SafetyRefusal, match="these settings have passed no drill"):
        run_trader(settings, is_confirmed=True)
    assert not (tmp_path / "x.db").exists()
    with open_store(tmp_path / "x.db", create=True) as store:
        insert_drill(store, StoredDrill(compute_config_digest(settings), 7, True, {}))
    with pytest.raises(SafetyRefusal, match="there is no terminal to do it in"):
        run_trader(settings)
