"""A position in a delisted market: a person frees its money and its slot."""

import json
import signal
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bounded_run import run_bounded
from live_desk import QUICK
from live_steps import BALANCE, LIMITS, RESTING
from onetape.cli.program import HELP_NAMES
from onetape.core.trading import Mode
from onetape.engine import ExitConfig
from onetape.simulator.embedded import embedded_simulator
from onetape.simulator.faults.model import Fault
from onetape.store.account_reading import read_open_obligations, read_traded_series
from onetape.store.live_accounts import read_open_differences
from onetape.store.reservations import AccountCash
from programs import Program
from session_harness import ACCOUNT, SessionHarness, open_market, open_session
from traded_accounts import TradedAccount
from trader.commands.status_record import TraderStatus, read_status
from trader.delisted import note_delisted, note_listed, write_off_if_answered
from trader.live.start_plan import is_open
from trader.live.times import LiveTimes
from trader.main import app

NAME, SYMBOL = "own", "BTC/USDT"
#: BUY after every candle.
BUYS = """
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onetape.strategies import Signals, Strategy


@dataclass(frozen=True)
class Buys(Strategy):
    name: ClassVar[str] = "buys"

    @property
    def lookback(self):
        return 1

    def evaluate(self, candles, higher):
        return Signals(np.ones(len(candles.timestamp), np.int8), {})
"""


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "data" / "simulator.db"


@pytest.fixture(params=["paper", "live"])
def account(db: Path, request: pytest.FixtureRequest) -> Iterator[TradedAccount]:
    """Yield an account with a position, a stop and a pending exit; no trader runs."""
    mode: Mode = request.param
    yield from open_holding_account(db, mode)


def open_holding_account(db: Path, mode: Mode) -> Iterator[TradedAccount]:
    db.parent.mkdir(parents=True)
    with TradedAccount(db, NAME, exchange="simulator", mode=mode) as account:
        account.fill("buy", "2", "100", 1)
        account.candles((100, 100, 80, 80))
        account.order("sell", 2, type_="stop_loss")
        account.add_pending_exit(3, "90")
        yield account


def leave(account: TradedAccount) -> None:
    """End the session, as a trader that was stopped does."""
    account.end()
    account.lock.release()


def reconcile(db: Path, *flags: str) -> Any:
    arguments = ["reconcile", "--db", str(db), *flags]
    return CliRunner().invoke(app, arguments, help_option_names=HELP_NAMES)


def read_symbol_status(account: TradedAccount) -> TraderStatus:
    (found,) = [one for one in read_traded_series(account.store) if one.symbol == SYMBOL]
    return read_status(account.store, found)


def test_reconcile_with_json_prints_only_json(db: Path, account: TradedAccount) -> None:
    leave(account)
    note_delisted(db, NAME, SYMBOL, "simulator has no spot market 'BTC/USDT'")
    result = reconcile(db, "--forget", "1", "--json")
    assert json.loads(result.stdout) == {"differences": []}
    assert "the position of 2 BTC is taken out of the ledger" in result.stderr


@pytest.mark.parametrize(("price", "cash"), [(None, 960), ("95.5", 991), ("0", 800)])
def test_forget_frees_money_and_slot_of_a_position_that_cannot_be_sold(
    db: Path, account: TradedAccount, price: str | None, cash: int
) -> None:
    leave(account)
    note_delisted(db, NAME, SYMBOL, "simulator has no spot market 'BTC/USDT'")
    note_delisted(db, NAME, SYMBOL, "simulator has no spot market 'BTC/USDT'")
    (traded,) = read_traded_series(account.store)
    assert is_open(account.store, traded)
    flags = [] if price is None else ["--price", price]
    result = reconcile(db, "--forget", "1", *flags)
    assert result.exit_code == 0
    assert "the position of 2 BTC is taken out of the ledger" in result.output
    assert not is_open(account.store, traded)
    assert AccountCash(account.store, NAME, account.mode).read() == Decimal(cash)
    assert read_open_obligations(account.store, traded) == []
    assert read_open_differences(account.store) == []


def test_status_names_the_command_for_a_position_that_cannot_be_sold(
    db: Path, account: TradedAccount
) -> None:
    leave(account)
    note_delisted(db, NAME, SYMBOL, "simulator has no spot market 'BTC/USDT'")
    status = read_symbol_status(account)
    assert status.condition == "stopped"
    assert status.reason.startswith("the position cannot be sold: simulator has no spot market")
    assert status.remedy.startswith("uv run trader reconcile --forget 1 frees its money and its ")
    assert "answer --forget" in reconcile(db).output
    note_listed(db, NAME, SYMBOL)
    assert read_open_differences(account.store) == []
    assert read_symbol_status(account).reason == "ended by SIGTERM"


def test_a_delisted_position_of_a_trader_is_written_off_by_that_trader(
    db: Path, account: TradedAccount
) -> None:
    note_delisted(db, NAME, SYMBOL, "not listed")
    result = reconcile(db, "--forget", "1", "--price", "95.5")
    assert result.exit_code == 0
    assert "the trader that runs takes the position in BTC/USDT out of the ledger" in result.output
    assert is_open(account.store, read_traded_series(account.store)[0])
    (stored,) = read_open_differences(account.store)
    assert (stored.answer, stored.document["price"]) == ("forget", "95.5")
    # It ended before it has read the answer: the next start carries it out.
    leave(account)
    line = write_off_if_answered(db, NAME, SYMBOL)
    assert line is not None
    assert "at 95.5 USDT each" in line
    assert not is_open(account.store, read_traded_series(account.store)[0])
    assert read_open_differences(account.store) == []
    assert write_off_if_answered(db, NAME, SYMBOL) is None


@pytest.mark.parametrize("times", [None, QUICK])
def test_row_103_a_running_trader_frees_a_position_whose_market_is_delisted_meanwhile(
    db: Path,
    strategy_file: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    times: LiveTimes | None,
) -> None:
    monkeypatch.setattr("trader.market_status.FETCH_SECONDS", 0.05)
    monkeypatch.setattr("trader.market_status.CHECK_SECONDS", 0.05)
    monkeypatch.setattr("trader.supervisor.FIRST_PAUSE_SECONDS", 0.05)
    strategy = strategy_file(BUYS, "buys")

    def newest(trading: SessionHarness) -> tuple[str, str, str]:
        sql = "SELECT state, reason, remedy FROM trader_states ORDER BY id DESC LIMIT 1"
        (row,) = trading.query(sql)
        return row[0], row[1], row[2]

    async def scene() -> None:
        async with (
            open_market(0.25, balance=BALANCE) as opened,
            open_session(
                opened, db, strategy=strategy, exits=ExitConfig(stop_loss=0.2), cash="10000",
                live=times, risk=LIMITS, stale_after_seconds=1.0,
            ) as trading,
        ):  # fmt: skip
            await trading.until_live(opened)
            await opened.go_to(1.02)
            await trading.until(trading.fills)
            if times is not None:
                await trading.until(lambda: trading.query(RESTING))
            opened.simulator.faults.add(Fault("delisted", symbol=SYMBOL))
            await trading.until(lambda: read_open_differences(trading.store))
            await trading.until(lambda: "reconcile --forget 1" in newest(trading)[2])
            mode: Mode = "paper" if times is None else "live"
            cash = AccountCash(trading.store, ACCOUNT, mode).read()
            assert reconcile(db, "--forget", "1", "--price", "0").exit_code == 0
            (traded,) = read_traded_series(trading.store)
            await trading.until(lambda: not is_open(trading.store, traded))
            assert AccountCash(trading.store, ACCOUNT, mode).read() == cash
            await trading.until(lambda: read_open_differences(trading.store) == [])
            # It goes on without the position, in a market that takes no order.
            await trading.until(lambda: newest(trading)[2].startswith("leave the symbol out"))
            assert not is_open(trading.store, traded)

    run_bounded(scene(), 180.0)


@pytest.mark.parametrize(
    "flags",
    [("--adopt", "1"), ("--save", "1"), ("--price", "3"), ("--forget", "1", "--price", "-1")],
)
def test_an_answer_that_does_not_fit_a_delisted_market_is_refused(
    db: Path, account: TradedAccount, flags: tuple[str, ...]
) -> None:
    leave(account)
    note_delisted(db, NAME, SYMBOL, "not listed")
    assert reconcile(db, *flags).exit_code != 0
    assert len(read_open_differences(account.store)) == 1


def test_a_start_on_paper_leaves_a_delisted_position_out_and_the_others_go_on(
    db: Path, tmp_path: Path
) -> None:
    def started(url: str, symbols: str) -> Program:
        return Program(
            "trader", "--exchange", "simulator", "--simulator-url", url, "--symbol", symbols,
            "--account", NAME, "--timeframe", "1h", "--strategy", "rsi", folder=tmp_path,
        )  # fmt: skip

    for account in open_holding_account(db, "paper"):
        leave(account)
    delisted = Fault("delisted", symbol=SYMBOL)
    with embedded_simulator(faults=[delisted]) as simulator:
        with started(simulator.url, SYMBOL) as program:
            assert program.ends() == 2
        assert "uv run trader reconcile" in program.errors[0]
        with started(simulator.url, f"{SYMBOL},ETH/USDT") as program:
            program.until(f"{SYMBOL} is left out, with its open position or order: ")
            program.until("", inside=": HOLD")
            flags = ("--exchange", "simulator", "--forget", "1")
            with Program("trader", "reconcile", *flags, folder=tmp_path) as command:
                assert command.ends() == 0
            assert "taken out of the ledger at 80 USDT each" in command.lines[0]
            program.send(signal.SIGTERM)
            assert program.ends() == 0
        # It holds nothing there any more: the settings have to leave the symbol out.
        with started(simulator.url, f"{SYMBOL},ETH/USDT") as program:
            assert program.ends() == 2
