"""What a start is refused for, and what it leaves out while another symbol has a position."""

import asyncio
import os
import signal
import threading
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from pathlib import Path

import pytest
from msgspec.structs import replace

from onetape.cli.common_settings import StrategySettings
from onetape.core.errors import SafetyRefusal, UsageError
from onetape.exchange.clients import Endpoint
from onetape.exchange.rest import RestExchange
from onetape.simulator.embedded import embedded_simulator
from onetape.store.database import open_store
from onetape.store.live_accounts import LiveAccount, open_live_account
from traded_accounts import TradedAccount
from trader.evaluator.processes import StrategyHelper
from trader.live.start_checks import Start, ask_markets, check_accounts, check_other_accounts
from trader.live.start_plan import plan_start
from trader.run import run_trader
from trader.settings import SymbolSettings, TraderSettings
from trader.start_strategies import StrategyLoader
from trader.traded_symbols import traded_symbols

HOLDER = "the holder"
#: The id of the simulator's account.
NUMBER = "354937868"
OTHER_STRATEGY = StrategySettings(name="macd")
SETTINGS = TraderSettings(exchange="simulator", mode="live", timeframe="1h", account_name=HOLDER)


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "x.db"


@pytest.fixture
def holder(db: Path) -> Iterator[TradedAccount]:
    """Yield an account on the simulator with a position in BTC/USDT, and ETH/USDT flat."""
    with TradedAccount(db, HOLDER, mode="live", exchange="simulator") as account:
        with TradedAccount(
            db, HOLDER, mode="live", exchange="simulator", symbol="ETH/USDT"
        ) as ether:
            ether.end()
        account.fill("buy", "0.01", "100", 1)
        opened = LiveAccount(HOLDER, "simulator", NUMBER, {}, 1, 1)
        open_live_account(account.store, opened)
        account.end()
        account.lock.release()
        yield account


def start_of(holder: TradedAccount, settings: TraderSettings) -> Start:
    plan = plan_start(holder.store, settings, traded_symbols(settings))
    with ExitStack() as stack:
        helper = StrategyHelper()
        stack.callback(helper.close)
        runner = stack.enter_context(asyncio.Runner())
        plan, evaluators = StrategyLoader(helper, runner, stack).load_plan(plan)
        return Start(plan, tuple(evaluators))


def with_symbols(*symbols: SymbolSettings) -> TraderSettings:
    return replace(SETTINGS, symbols=list(symbols))


def traded(start: Start) -> list[str]:
    assert len(start.evaluators) == len(start.plan.symbols)
    return [one.key.symbol for one in start.plan.symbols]


BITCOIN = SymbolSettings(symbol="BTC/USDT")
CHANGED = SymbolSettings(symbol="ETH/USDT", strategy=OTHER_STRATEGY)


def test_a_flat_symbol_with_another_strategy_is_left_out_while_one_is_held(
    holder: TradedAccount,
) -> None:
    start = start_of(holder, with_symbols(CHANGED, BITCOIN))
    assert traded(start) == ["ETH/USDT", "BTC/USDT"]
    start = check_accounts(holder.store, start)
    assert traded(start) == ["BTC/USDT"]
    assert start.plan.account == HOLDER
    ban = start.plan.entry_ban("BTC/USDT")
    assert ban is not None
    assert "ETH/USDT is left out: account the holder trades ETH/USDT by strategy rsi" in ban.reason
    holder.fill("sell", "0.01", "100", 2)
    with pytest.raises(SafetyRefusal, match="by strategy rsi, not macd"):
        check_accounts(holder.store, start_of(holder, with_symbols(CHANGED, BITCOIN)))


def test_an_account_of_another_exchange_is_refused_even_while_it_holds_something(
    holder: TradedAccount,
) -> None:
    settings = replace(SETTINGS, exchange="binance", symbol="ETH/USDT")
    with pytest.raises(SafetyRefusal, match="trades simulator"):
        check_accounts(holder.store, start_of(holder, settings))


def test_a_flat_symbol_that_is_not_listed_is_left_out_while_one_is_held(
    holder: TradedAccount,
) -> None:
    settings = with_symbols(SymbolSettings(symbol="GONE/USDT"), BITCOIN)
    start = start_of(holder, settings)

    async def asked(start: Start) -> None:
        with embedded_simulator() as simulator:
            endpoint = Endpoint("simulator", simulator.url)
            async with await asyncio.to_thread(RestExchange, endpoint) as exchange:
                left, markets = await ask_markets(exchange, start)
                assert traded(left) == ["BTC/USDT"]
                assert [one.symbol for one in markets] == ["BTC/USDT"]
                assert "GONE/USDT is left out: " in left.plan.exits_only["BTC/USDT"]
                flat = Start(replace(start.plan, held={}), start.evaluators)
                with pytest.raises(UsageError, match="no spot market 'GONE/USDT'"):
                    await ask_markets(exchange, flat)

    asyncio.run(asked(start))


def test_a_symbol_in_which_another_account_of_the_key_is_open_is_refused(
    db: Path, holder: TradedAccount
) -> None:
    settings = replace(SETTINGS, account_name="another")
    plan = plan_start(holder.store, settings, traded_symbols(settings))
    with pytest.raises(SafetyRefusal, match='go on with it: --account "the holder"') as refused:
        check_other_accounts(plan, db, NUMBER)
    assert refused.value.exit_code == 7
    assert "\n" not in str(refused.value)
    assert check_other_accounts(plan, db, "1") == plan, "another account of the exchange"
    own = plan_start(holder.store, SETTINGS, traded_symbols(SETTINGS))
    assert check_other_accounts(own, db, NUMBER) == own
    # A start that holds a position itself goes on, and enters nothing there.
    holding = replace(plan, held={"ETH/USDT": plan.symbols[0]})
    assert list(check_other_accounts(holding, db, NUMBER).exits_only) == ["BTC/USDT"]
    holder.fill("sell", "0.01", "100", 2)
    assert check_other_accounts(plan, db, NUMBER) == plan


@contextmanager
def stopped_once_it_trades(db: Path) -> Generator[None]:
    """Send SIGTERM to this process once a session is stored that the fixture has not begun."""
    has_ended = threading.Event()

    def watch() -> None:
        with open_store(db, create=False) as store:
            while not has_ended.wait(0.02):
                with store.read() as connection:
                    if connection.execute("SELECT count(*) FROM sessions").get > 2:
                        os.kill(os.getpid(), signal.SIGTERM)
                        return

    stopper = threading.Thread(target=watch)
    stopper.start()
    try:
        yield
    finally:
        has_ended.set()
        stopper.join()


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONETAPE_API_KEY", "simulator")
    monkeypatch.setenv("ONETAPE_API_SECRET", "simulator")


@pytest.mark.usefixtures("key")
def test_the_program_refuses_another_account_before_anything_is_stored_or_sent(
    db: Path, holder: TradedAccount
) -> None:
    settings = replace(SETTINGS, db=db, account_name="another", cash=Decimal(100))
    with (
        embedded_simulator() as simulator,
        stopped_once_it_trades(db),
        pytest.raises(SafetyRefusal, match="other's coins"),
    ):
        run_trader(replace(settings, simulator_url=simulator.url))
    with holder.store.read() as connection:
        assert connection.execute("SELECT count(*) FROM live_accounts").get == 1


@pytest.mark.usefixtures("key", "holder")
def test_the_program_looks_after_a_position_although_a_flat_symbol_is_refused(
    db: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = with_symbols(SymbolSettings(symbol="GONE/USDT"), CHANGED, BITCOIN)
    balance = {"BTC": Decimal(1), "USDT": Decimal(100)}
    with embedded_simulator(balance=balance) as simulator, stopped_once_it_trades(db):
        run_trader(replace(settings, db=db, simulator_url=simulator.url))
    out = capsys.readouterr().out
    assert "SIGTERM: stopped with 999.00 USDT and 0.01 BTC" in out
    assert "exits only: ETH/USDT is left out: " in out
    assert "; GONE/USDT is left out: " in out
