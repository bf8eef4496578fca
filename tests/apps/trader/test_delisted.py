"""A position in a market that is not listed any more: a person frees its money and its slot."""

import signal
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from onetape.cli.program import HELP_NAMES, exit_code_of
from onetape.core.trading import Mode
from onetape.simulator.embedded import embedded_simulator
from onetape.simulator.faults.model import Fault
from onetape.store.account_reading import read_open_obligations, read_traded
from onetape.store.live_accounts import open_differences
from onetape.store.reservations import AccountCash
from programs import Program
from traded_accounts import TradedAccount
from trader.commands.status_record import TraderStatus, read_status
from trader.delisted import note_delisted, note_listed
from trader.live.start_plan import is_open
from trader.main import app

NAME, SYMBOL = "own", "BTC/USDT"


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "data" / "simulator.db"


@pytest.fixture(params=["paper", "live"])
def account(db: Path, request: pytest.FixtureRequest) -> Iterator[TradedAccount]:
    """Yield an account with a position, a stop and a pending exit; no trader runs."""
    mode: Mode = request.param
    yield from holding(db, mode)


def holding(db: Path, mode: Mode) -> Iterator[TradedAccount]:
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


def status_of(account: TradedAccount) -> TraderStatus:
    (found,) = [one for one in read_traded(account.store) if one.symbol == SYMBOL]
    return read_status(account.store, found)


@pytest.mark.parametrize(("price", "cash"), [(None, 960), ("95.5", 991), ("0", 800)])
def test_forget_frees_money_and_place_of_a_position_that_cannot_be_sold(
    db: Path, account: TradedAccount, price: str | None, cash: int
) -> None:
    leave(account)
    note_delisted(db, NAME, SYMBOL, "simulator has no spot market 'BTC/USDT'")
    note_delisted(db, NAME, SYMBOL, "simulator has no spot market 'BTC/USDT'")
    (traded,) = read_traded(account.store)
    assert is_open(account.store, traded)
    flags = [] if price is None else ["--price", price]
    result = reconcile(db, "--forget", "1", *flags)
    assert result.exit_code == 0
    assert "the position of 2 BTC is taken out of the ledger" in result.output
    assert not is_open(account.store, traded)
    assert AccountCash(account.store, NAME, account.mode).read() == Decimal(cash)
    assert read_open_obligations(account.store, traded) == []
    assert open_differences(account.store) == []


def test_status_names_the_way_out_of_a_position_that_cannot_be_sold(
    db: Path, account: TradedAccount
) -> None:
    leave(account)
    note_delisted(db, NAME, SYMBOL, "simulator has no spot market 'BTC/USDT'")
    status = status_of(account)
    assert status.condition == "stopped"
    assert status.reason.startswith("the position cannot be sold: simulator has no spot market")
    assert status.remedy.startswith("uv run trader reconcile --forget 1 frees its money and its ")
    assert "answer --forget" in reconcile(db).output
    note_listed(db, NAME, SYMBOL)
    assert open_differences(account.store) == []
    assert status_of(account).reason == "ended by SIGTERM"


def test_a_position_that_a_trader_has_is_not_taken_out_of_the_ledger(
    db: Path, account: TradedAccount, capsys: pytest.CaptureFixture[str]
) -> None:
    note_delisted(db, NAME, SYMBOL, "not listed")
    arguments = ["reconcile", "--db", str(db), "--forget", "1"]
    assert exit_code_of(app, "trader", arguments) == 7
    assert "is traded by process 12 on host already" in capsys.readouterr().err
    assert is_open(account.store, read_traded(account.store)[0])


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
    assert len(open_differences(account.store)) == 1


def test_a_start_on_paper_leaves_a_delisted_position_out_and_the_others_go_on(
    db: Path, tmp_path: Path
) -> None:
    def started(url: str, symbols: str) -> Program:
        return Program(
            "trader", "--exchange", "simulator", "--simulator-url", url, "--symbol", symbols,
            "--account", NAME, "--timeframe", "1h", "--strategy", "rsi", folder=tmp_path,
        )  # fmt: skip

    for account in holding(db, "paper"):
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
            with Program("trader", "reconcile", *flags, folder=tmp_path) as answer:
                assert answer.ends() == 0
            assert "taken out of the ledger at 80 USDT each" in answer.lines[0]
            program.send(signal.SIGTERM)
            assert program.ends() == 0
        # It holds nothing there any more: the settings have to leave the symbol out.
        with started(simulator.url, f"{SYMBOL},ETH/USDT") as program:
            assert program.ends() == 2
