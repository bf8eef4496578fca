"""Reasons to refuse a start, and symbols that are left out while another has a position."""

import asyncio
import os
import queue
import signal
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from pathlib import Path

import pytest
from msgspec.structs import replace

from held_port import hold_port
from onetape.cli.common_settings import StrategySettings
from onetape.cli.output import print_line
from onetape.core.errors import ExchangeUnreachable, SafetyRefusal, UsageError
from onetape.exchange.clients import Endpoint
from onetape.exchange.rest import RestExchange
from onetape.simulator.embedded import embedded_simulator
from onetape.simulator.faults.model import Fault
from onetape.store.account_reading import read_traded_series
from onetape.store.database import open_store
from onetape.store.leases import acquire_lease, make_lease_name
from onetape.store.live_accounts import LiveAccount, open_live_account, read_live_account
from onetape.store.process_lock import ProcessLock
from onetape.store.read_only import open_read_only
from real_endpoint import redirect_binance
from traded_accounts import TradedAccount
from trader.commands.status_record import (
    EXIT_DEGRADED,
    TraderStatus,
    choose_exit_code,
    read_status,
)
from trader.evaluator.processes import StrategyHelper
from trader.live.start_checks import (
    Start,
    check_accounts,
    check_other_accounts,
    fetch_traded_markets,
)
from trader.live.start_plan import plan_start
from trader.run import run_trader
from trader.settings import SymbolSettings, TraderSettings
from trader.start_strategies import StrategyLoader
from trader.traded_symbols import parse_traded_symbols

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
    with open_holding_account(db, "simulator") as account:
        yield account


@contextmanager
def open_holding_account(db: Path, exchange: str) -> Generator[TradedAccount]:
    """Yield an account with a position in BTC/USDT, and ETH/USDT flat."""
    with TradedAccount(db, HOLDER, mode="live", exchange=exchange) as account:
        with TradedAccount(db, HOLDER, mode="live", exchange=exchange, symbol="ETH/USDT") as ether:
            ether.end()
        account.fill("buy", "0.01", "100", 1)
        open_live_account(account.store, LiveAccount(HOLDER, exchange, NUMBER, {}, 1, 1))
        account.end()
        account.lock.release()
        yield account


def start_of(holder: TradedAccount, settings: TraderSettings) -> Start:
    plan = plan_start(holder.store, settings, parse_traded_symbols(settings))
    with ExitStack() as stack:
        helper = StrategyHelper()
        stack.callback(helper.close)
        runner = stack.enter_context(asyncio.Runner())
        plan, evaluators = StrategyLoader(helper, runner, stack).load_plan(plan)
        return Start(plan, tuple(evaluators))


def make_settings_with_symbols(*symbols: SymbolSettings) -> TraderSettings:
    return replace(SETTINGS, symbols=list(symbols))


def list_traded_symbols(start: Start) -> list[str]:
    assert len(start.evaluators) == len(start.plan.symbols)
    return [one.key.symbol for one in start.plan.symbols]


BITCOIN = SymbolSettings(symbol="BTC/USDT")
CHANGED = SymbolSettings(symbol="ETH/USDT", strategy=OTHER_STRATEGY)


def test_a_flat_symbol_with_another_strategy_is_left_out_while_a_position_is_open(
    holder: TradedAccount,
) -> None:
    start = start_of(holder, make_settings_with_symbols(CHANGED, BITCOIN))
    assert list_traded_symbols(start) == ["ETH/USDT", "BTC/USDT"]
    start = check_accounts(holder.store, start)
    assert list_traded_symbols(start) == ["BTC/USDT"]
    assert start.plan.account == HOLDER
    ban = start.plan.find_entry_ban("BTC/USDT")
    assert ban is not None
    assert "ETH/USDT is left out: account the holder trades ETH/USDT by strategy rsi" in ban.reason
    holder.fill("sell", "0.01", "100", 2)
    with pytest.raises(SafetyRefusal, match="by strategy rsi, not macd"):
        check_accounts(holder.store, start_of(holder, make_settings_with_symbols(CHANGED, BITCOIN)))


def test_an_account_of_another_exchange_is_refused_even_with_an_open_position(
    holder: TradedAccount,
) -> None:
    settings = replace(SETTINGS, exchange="binance", symbol="ETH/USDT")
    with pytest.raises(SafetyRefusal, match="trades simulator"):
        check_accounts(holder.store, start_of(holder, settings))


def test_a_flat_symbol_that_is_not_listed_is_left_out_while_a_position_is_open(
    holder: TradedAccount,
) -> None:
    settings = make_settings_with_symbols(SymbolSettings(symbol="GONE/USDT"), BITCOIN)
    start = start_of(holder, settings)

    async def check_start(start: Start) -> None:
        with embedded_simulator() as simulator:
            endpoint = Endpoint("simulator", simulator.url)
            async with await asyncio.to_thread(RestExchange, endpoint) as exchange:
                left, markets = await fetch_traded_markets(exchange, start)
                assert list_traded_symbols(left) == ["BTC/USDT"]
                assert [one.symbol for one in markets] == ["BTC/USDT"]
                assert "GONE/USDT is left out: " in left.plan.exits_only["BTC/USDT"]
                flat = Start(replace(start.plan, held={}), start.evaluators)
                with pytest.raises(UsageError, match="no spot market 'GONE/USDT'"):
                    await fetch_traded_markets(exchange, flat)

    asyncio.run(check_start(start))


READS_GONE = """
from dataclasses import dataclass
from typing import ClassVar

from onetape.strategies import Market, Signals, Strategy


@dataclass(frozen=True)
class Reads(Strategy):
    name: ClassVar[str] = "rsi"
    informative = (Market("GONE/{quote}", "1h"),)
    lookback = 1

    def evaluate(self, candles, higher):
        return Signals((candles.close * 0).astype("int8"))
"""


def test_a_strategy_that_reads_a_market_that_is_not_listed_makes_exits_only_if_it_holds(
    holder: TradedAccount, tmp_path: Path
) -> None:
    path = tmp_path / "reads.py"
    path.write_text(READS_GONE, encoding="utf-8")
    reads = StrategySettings(name=f"{path}:Reads")
    start = start_of(
        holder, make_settings_with_symbols(SymbolSettings(symbol="ETH/USDT", strategy=reads))
    )
    evaluators = dict(
        zip([one.key.symbol for one in start.plan.symbols], start.evaluators, strict=True)
    )
    held = Start(start.plan, tuple(evaluators["ETH/USDT"] for _ in start.evaluators))
    assert set(list_traded_symbols(held)) == {"ETH/USDT", "BTC/USDT"}

    async def check_start() -> None:
        with embedded_simulator() as simulator:
            endpoint = Endpoint("simulator", simulator.url)
            async with await asyncio.to_thread(RestExchange, endpoint) as exchange:
                left, markets = await fetch_traded_markets(exchange, held)
                assert list_traded_symbols(left) == [one.symbol for one in markets] == ["BTC/USDT"]
                ban = left.plan.find_entry_ban("BTC/USDT")
                assert ban is not None
                assert "needs GONE/USDT 1h candles: simulator has no spot market" in ban.reason
                flat = Start(replace(held.plan, held={}), held.evaluators)
                with pytest.raises(UsageError, match="strategy rsi needs GONE/USDT 1h candles: "):
                    await fetch_traded_markets(exchange, flat)

    asyncio.run(check_start())


@pytest.mark.parametrize("symbol", ["BTC/USDT", "BTC/USDC"])
def test_a_coin_in_which_another_account_of_the_key_has_a_position_is_refused(
    db: Path, holder: TradedAccount, symbol: str
) -> None:
    settings = replace(SETTINGS, account_name="another", symbol=symbol)
    plan = plan_start(holder.store, settings, parse_traded_symbols(settings))
    with pytest.raises(SafetyRefusal, match='go on with it: --account "the holder"') as refused:
        check_other_accounts(plan, db, NUMBER)
    assert refused.value.exit_code == 7
    assert "\n" not in str(refused.value)
    assert check_other_accounts(plan, db, "1") == plan, "another account of the exchange"
    own = plan_start(holder.store, SETTINGS, parse_traded_symbols(SETTINGS))
    assert check_other_accounts(own, db, NUMBER) == own
    # A start that holds a position itself goes on, and enters nothing there.
    holding = replace(plan, held={"ETH/USDT": plan.symbols[0]})
    assert list(check_other_accounts(holding, db, NUMBER).exits_only) == [symbol]
    holder.fill("sell", "0.01", "100", 2)
    assert check_other_accounts(plan, db, NUMBER) == plan


@contextmanager
def stop_once_trading(db: Path, sessions: int = 2) -> Generator[None]:
    """Send SIGTERM to this process once more sessions are stored: 2 are those of the fixture."""
    has_ended = threading.Event()

    def watch() -> None:
        with open_store(db, create=False) as store:
            while not has_ended.wait(0.02):
                with store.read() as connection:
                    if connection.execute("SELECT count(*) FROM sessions").get > sessions:
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
        stop_once_trading(db),
        pytest.raises(SafetyRefusal, match="other's BTC"),
    ):
        run_trader(replace(settings, simulator_url=simulator.url))
    with holder.store.read() as connection:
        assert connection.execute("SELECT count(*) FROM live_accounts").get == 1


@pytest.mark.usefixtures("key")
def test_row_134_a_second_account_without_cash_does_not_count_the_money_of_the_first(
    db: Path, holder: TradedAccount, capsys: pytest.CaptureFixture[str]
) -> None:
    holder.fill("sell", "0.01", "100", 2)
    settings = replace(SETTINGS, db=db, account_name="second", symbol="ETH/USDT")
    with embedded_simulator(balance={"USDT": Decimal(1_200)}) as simulator:
        settings = replace(settings, simulator_url=simulator.url)
        text = "^account the holder trades with USDT on the same account"
        with stop_once_trading(db), pytest.raises(SafetyRefusal, match=text) as refused:
            run_trader(settings)
        assert "--cash" in str(refused.value)
        assert "\n" not in str(refused.value)
        assert refused.value.exit_code == 7
        assert read_live_account(holder.store, "second") is None, "nothing is stored of it"
        with stop_once_trading(db):
            run_trader(replace(settings, cash=Decimal(300)))
        # Its own money counts once it is opened.
        with stop_once_trading(db, 3):
            run_trader(settings)
    out = capsys.readouterr().out
    text = "account second and the holder together count on 1300 USDT, and the account at simul"
    assert out.count(text) == 1, "1,000 of the holder and 300"
    assert out.count("SIGTERM: stopped with 300.00 USDT") == 2


@pytest.mark.usefixtures("key", "holder")
def test_the_program_manages_a_position_although_a_flat_symbol_is_refused(
    db: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = make_settings_with_symbols(SymbolSettings(symbol="GONE/USDT"), CHANGED, BITCOIN)
    balance = {"BTC": Decimal(1), "USDT": Decimal(100)}
    with embedded_simulator(balance=balance) as simulator, stop_once_trading(db):
        run_trader(replace(settings, db=db, simulator_url=simulator.url))
    out = capsys.readouterr().out
    assert "SIGTERM: stopped with 999.00 USDT and 0.01 BTC" in out
    assert "exits only: ETH/USDT is left out: " in out
    assert "; GONE/USDT is left out: " in out


@pytest.mark.usefixtures("key", "holder")
def test_row_65_a_freqtrade_file_for_one_symbol_does_not_stop_a_start_with_a_position(
    db: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "own.py"
    file.write_text(
        "from freqtrade.strategy import IStrategy\n\n\nclass Own(IStrategy):\n"
        '    timeframe = "1h"\n    stoploss = -0.1\n',
        encoding="utf-8",
    )
    own = SymbolSettings(symbol="ETH/USDT", strategy=StrategySettings(name=str(file)))
    balance = {"BTC": Decimal(1), "USDT": Decimal(100)}
    with embedded_simulator(balance=balance) as simulator:
        url = simulator.url
        settings = replace(make_settings_with_symbols(own, BITCOIN), db=db, simulator_url=url)
        with stop_once_trading(db):
            run_trader(settings)
        out = capsys.readouterr().out
        assert "SIGTERM: stopped with 999.00 USDT and 0.01 BTC" in out
        assert "exits only: the file of a strategy cannot be used (ETH/USDT: " in out
        with pytest.raises(UsageError, match="freqtrade strategy, whose stops"):
            run_trader(replace(settings, account_name="one that holds nothing"))


LIMITS = """
import numpy as np

from onetape.strategies.functions import Entries, strategy_function


@strategy_function(lookback=1, limit_expiry_candles=2)
def bid(df):
    falls = df.close < df.open
    return Entries(entry=falls, exit=~falls, limit=df.low)
"""


@pytest.mark.usefixtures("key")
def test_a_strategy_with_limit_entries_is_refused_live_before_anything_runs(
    db: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bid.py"
    file.write_text(LIMITS, encoding="utf-8")
    settings = TraderSettings(
        exchange="simulator",
        mode="live",
        symbol="BTC/USDT",
        strategy=StrategySettings(name=f"{file}:bid"),
        db=db,
        # Nothing listens there.
        simulator_url="http://127.0.0.1:9",
    )
    with pytest.raises(UsageError, match="strategy bid gives limit entries, which exist on paper"):
        run_trader(settings)
    assert capsys.readouterr().out == ""


def print_to(lines: queue.Queue[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Copy the lines that the start prints about the exchange to a list."""

    def printed(line: str, **_: object) -> None:
        print_line(line)
        lines.put(line)

    monkeypatch.setattr("trader.waiting_start.print_line", printed)


@pytest.mark.usefixtures("key", "holder")
def test_a_start_with_a_position_waits_for_an_exchange_that_cannot_be_reached(
    db: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: queue.Queue[str] = queue.Queue()
    print_to(lines, monkeypatch)
    monkeypatch.setattr("trader.exchange_opening.FIRST_PAUSE_SECONDS", 0.1)
    has_ended = threading.Event()

    def simulate(port: int) -> None:
        lines.get(timeout=180)
        balance = {"BTC": Decimal(1), "USDT": Decimal(100)}
        with embedded_simulator(port=port, balance=balance):
            has_ended.wait(180)

    with hold_port() as port:
        simulating = threading.Thread(target=simulate, args=(port,))
        simulating.start()
        try:
            with stop_once_trading(db):
                url = f"http://127.0.0.1:{port}"
                run_trader(replace(SETTINGS, db=db, simulator_url=url, symbol="BTC/USDT"))
        finally:
            has_ended.set()
            simulating.join()
    out = capsys.readouterr().out
    assert "degraded: " in out
    assert "a position or order is open: no entries and no exits until the exchange" in out
    assert "the exchange can be reached again" in out
    assert "SIGTERM: stopped with 999.00 USDT and 0.01 BTC" in out


@pytest.mark.usefixtures("key")
def test_a_start_with_a_position_trades_although_the_time_is_refused_after_the_account_was_read(
    db: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = Fault("status", status=503, path="/api/v3/time", nth=2, count=1_000_000)
    balance = {"BTC": Decimal(1), "USDT": Decimal(100)}
    with (
        open_holding_account(db, "binance"),
        embedded_simulator(faults=[refused], balance=balance) as simulator,
        redirect_binance(simulator.url),
        stop_once_trading(db),
    ):
        run_trader(replace(SETTINGS, db=db, exchange="binance", untested_exchange=True))
    assert "SIGTERM: stopped with 999.00 USDT and 0.01 BTC" in capsys.readouterr().out


@pytest.mark.usefixtures("key", "holder")
def test_a_start_that_waits_for_the_exchange_ends_by_sigterm(
    db: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: queue.Queue[str] = queue.Queue()
    print_to(lines, monkeypatch)

    def end() -> None:
        lines.get(timeout=180)
        os.kill(os.getpid(), signal.SIGTERM)

    refused = Fault("status", status=403, path="/api/v3/exchangeInfo")
    ending = threading.Thread(target=end)
    ending.start()
    with embedded_simulator(faults=[refused]) as simulator:
        run_trader(replace(SETTINGS, db=db, simulator_url=simulator.url, symbol="BTC/USDT"))
    ending.join()
    assert "SIGTERM: stopped before trading began" in capsys.readouterr().out


@pytest.mark.usefixtures("key", "holder")
def test_a_start_that_waits_for_the_exchange_is_shown_by_status(
    db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: queue.Queue[str] = queue.Queue()
    print_to(lines, monkeypatch)
    seen: list[TraderStatus] = []

    def status() -> TraderStatus:
        with open_read_only(db) as store:
            (account,) = [one for one in read_traded_series(store) if one.symbol == "BTC/USDT"]
            return read_status(store, account)

    def end() -> None:
        lines.get(timeout=180)
        seen.append(status())
        os.kill(os.getpid(), signal.SIGTERM)

    refused = Fault("status", status=403, path="/api/v3/exchangeInfo")
    ending = threading.Thread(target=end)
    ending.start()
    with embedded_simulator(faults=[refused]) as simulator:
        run_trader(replace(SETTINGS, db=db, simulator_url=simulator.url, symbol="BTC/USDT"))
    ending.join()
    (waiting,) = seen
    assert waiting.condition == "degraded"
    assert choose_exit_code([waiting]) == EXIT_DEGRADED
    assert waiting.reason.startswith("waiting for the exchange since 20")
    assert "responded with 403" in waiting.reason
    assert waiting.is_here
    assert waiting.stop_place is not None
    assert waiting.stop_place.place == "none"
    assert status().condition == "stopped"


@pytest.mark.usefixtures("key")
def test_a_start_that_waits_refuses_an_account_that_another_process_trades(
    db: Path, monkeypatch: pytest.MonkeyPatch, holder: TradedAccount
) -> None:
    monkeypatch.setattr("trader.exchange_opening.FIRST_PAUSE_SECONDS", 0.1)
    lock = ProcessLock(db, make_lease_name(HOLDER, "BTC/USDT"))
    assert lock.acquire()
    acquire_lease(
        holder.store,
        make_lease_name(HOLDER, "BTC/USDT"),
        "process 12 on host",
        now_ms=time.time_ns() // 1_000_000,
        seconds=600,
        lock=lock,
    )
    refused = Fault("status", status=403, path="/api/v3/exchangeInfo")
    settings = replace(SETTINGS, db=db, symbol="BTC/USDT")
    with (
        embedded_simulator(faults=[refused]) as simulator,
        pytest.raises(SafetyRefusal, match="is traded by process 12 on host already"),
    ):
        run_trader(replace(settings, simulator_url=simulator.url))
    lock.release()


@pytest.mark.usefixtures("key")
def test_a_start_without_a_position_ends_if_the_exchange_cannot_be_reached(
    db: Path, holder: TradedAccount
) -> None:
    holder.fill("sell", "0.01", "100", 2)
    with hold_port() as port:
        url = f"http://127.0.0.1:{port}"
        with pytest.raises(ExchangeUnreachable):
            run_trader(replace(SETTINGS, db=db, simulator_url=url, symbol="BTC/USDT"))


@pytest.mark.usefixtures("key", "holder")
def test_a_held_symbol_that_is_delisted_is_named_and_the_others_go_on(
    db: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = make_settings_with_symbols(BITCOIN, SymbolSettings(symbol="ETH/USDT"))
    delisted = Fault("delisted", symbol="BTC/USDT")
    balance = {"BTC": Decimal(1), "USDT": Decimal(100)}
    with (
        embedded_simulator(balance=balance, faults=[delisted]) as simulator,
        stop_once_trading(db),
    ):
        run_trader(replace(settings, db=db, simulator_url=simulator.url))
    out = capsys.readouterr().out
    assert "BTC/USDT is left out, with its open position or order: " in out
    assert "sell, convert or withdraw its coins at the exchange" in out
    assert "SIGTERM: stopped with" in out
    assert "exits only" not in out
    with open_store(db, create=False) as store, store.read() as connection:
        (newest,) = connection.execute(
            "SELECT symbol FROM sessions ORDER BY started_ms DESC LIMIT 1"
        ).fetchall()
    assert newest == ("ETH/USDT",)


@pytest.mark.usefixtures("key", "holder")
def test_a_start_whose_only_symbol_is_held_and_delisted_states_what_to_do(db: Path) -> None:
    delisted = Fault("delisted", symbol="BTC/USDT")
    with embedded_simulator(faults=[delisted]) as simulator:
        settings = replace(SETTINGS, db=db, simulator_url=simulator.url, symbol="BTC/USDT")
        with pytest.raises(UsageError, match="sell, convert or withdraw its coins"):
            run_trader(settings)
