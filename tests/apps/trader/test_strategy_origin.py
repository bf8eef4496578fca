"""Two strategies with one name: an account goes on with the file and class that it began with."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from onetape.cli.common_settings import StrategySettings
from onetape.core.errors import SafetyRefusal
from onetape.core.trading import Mode
from onetape.simulator.embedded import embedded_simulator
from onetape.store.sessions import change_session_rules
from programs import Program
from session_harness import OFTEN
from traded_accounts import TradedAccount
from trader.evaluator.processes import StrategyHelper
from trader.live.start_checks import Start, check_accounts
from trader.live.start_plan import StartPlan, plan_start
from trader.settings import TraderSettings
from trader.start_strategies import StrategyLoader
from trader.strategy_origin import find_strategy_origin
from trader.traded_symbols import parse_traded_symbols

ACCOUNT = "own"
#: The same name, other signals.
OTHER = OFTEN.replace("-rose", "rose")
REFUSED = (
    r"by strategy often of a/own\.py, not of b/own\.py:Often; use --strategy a/own\.py, or open "
)
#: A file with two classes of one name.
TWO = OFTEN + OTHER.split("from onetape.strategies import Signals, Strategy")[1].replace(
    "class Often", "class Rarely"
)


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder, text in (("a", OFTEN), ("b", OTHER), ("user/strategies", OFTEN)):
        Path(folder).mkdir(parents=True)
        Path(folder, "own.py").write_text(text, encoding="utf-8")


@pytest.fixture
def account(tmp_path: Path) -> Iterator[TradedAccount]:
    yield from open_traded_account(tmp_path, "paper", {"strategy_file": "a/own.py"})


@pytest.fixture
def live(tmp_path: Path) -> Iterator[TradedAccount]:
    yield from open_traded_account(tmp_path, "live", {"strategy_file": "a/own.py"})


def open_traded_account(folder: Path, mode: Mode, rules: dict[str, Any]) -> Iterator[TradedAccount]:
    with TradedAccount(
        folder / "x.db", ACCOUNT, strategy="often", rules=rules, mode=mode
    ) as account:
        yield account


def start_with(account: TradedAccount, strategy: str) -> Start:
    """Return a start with a strategy, after the checks of its account."""
    settings = TraderSettings(
        timeframe="1h",
        account_name=ACCOUNT,
        strategy=StrategySettings(name=strategy),
        mode=account.mode,
    )
    symbols = parse_traded_symbols(settings)
    plan = StartPlan(settings, tuple(symbols))
    if account.mode == "live":
        plan = plan_start(account.store, settings, symbols)
    with ExitStack() as stack:
        helper = StrategyHelper()
        stack.callback(helper.close)
        runner = stack.enter_context(asyncio.Runner())
        plan, evaluators = StrategyLoader(helper, runner, stack).load_plan(plan)
        return check_accounts(account.store, Start(plan, tuple(evaluators)))


def test_the_origin_of_a_strategy_is_its_file_with_the_class_that_was_named(
    tmp_path: Path,
) -> None:
    assert find_strategy_origin("rsi") == ""
    assert find_strategy_origin("own") == "user/strategies/own.py"
    assert find_strategy_origin("./a/own.py") == "a/own.py"
    assert find_strategy_origin(str(tmp_path / "a" / "own.py:Often")) == "a/own.py:Often"
    assert find_strategy_origin("/elsewhere/own.py") == "/elsewhere/own.py"
    assert find_strategy_origin("own", "Often") == "user/strategies/own.py:Often"
    assert find_strategy_origin("rsi", "Rsi") == ""


def test_a_strategy_of_the_same_name_from_another_file_is_refused(account: TradedAccount) -> None:
    with pytest.raises(SafetyRefusal, match=REFUSED):
        start_with(account, "b/own.py")


@pytest.mark.parametrize("strategy", ["a/own.py", "a/own.py:Often"])
def test_changed_code_of_the_same_file_is_accepted(account: TradedAccount, strategy: str) -> None:
    Path("a/own.py").write_text(OTHER, encoding="utf-8")
    start_with(account, strategy)


def test_a_file_that_was_moved_is_accepted(account: TradedAccount) -> None:
    Path("a/own.py").rename("moved.py")
    start_with(account, "moved.py")


def test_a_copy_with_the_same_code_is_accepted(account: TradedAccount) -> None:
    evaluator = start_with(account, "a/own.py").evaluators[0]
    with account.store.write() as connection:
        connection.execute("UPDATE sessions SET code_digest = ?", (evaluator.strategy.code_digest,))
    start_with(account, "own")


def test_an_account_of_an_earlier_version_accepts_either_file(account: TradedAccount) -> None:
    change_session_rules(account.store, account.session.session, {})
    for strategy in ("a/own.py", "b/own.py"):
        start_with(account, strategy)


def test_a_position_goes_on_with_the_file_that_has_entered(live: TradedAccount) -> None:
    live.fill("buy", "2", "100", 1)
    start = start_with(live, "b/own.py")
    assert [one.settings.name for one in start.evaluators] == ["a/own.py"]
    assert start.plan.exits_only["BTC/USDT"] == (
        "the strategy is often of b/own.py:Often now, and the position is one of often of a/own.py"
    )
    assert not start_with(live, "a/own.py").plan.exits_only
    Path("a/own.py").write_text("broken", encoding="utf-8")
    plan = start_with(live, "b/own.py").plan
    assert plan.stand_ins == {"BTC/USDT": "often"}


def store_origin(account: TradedAccount, origin: str) -> None:
    change_session_rules(account.store, account.session.session, {"strategy_file": origin})


@pytest.mark.parametrize("stored", ["a/own.py:Often", "a/own.py"])
def test_row_137_another_class_of_one_name_in_the_same_file_is_refused(
    account: TradedAccount, stored: str
) -> None:
    # The account was opened while the file held one strategy; the other one came later.
    store_origin(account, stored)
    start_with(account, "a/own.py")
    Path("a/own.py").write_text(TWO, encoding="utf-8")
    with pytest.raises(SafetyRefusal) as refused:
        start_with(account, "a/own.py:Rarely")
    assert "\n" not in str(refused.value)
    if ":" in stored:
        assert "of a/own.py:Often, not of a/own.py:Rarely; use --strategy a/own.py:Often" in str(
            refused.value
        )
        start_with(account, "a/own.py:Often")
        # The class that the account has traded by is gone.
        Path("a/own.py").write_text(OTHER.replace("class Often", "class Rarely"), encoding="utf-8")
        with pytest.raises(SafetyRefusal, match=r"of a/own\.py:Often, not of a/own\.py:Rarely"):
            start_with(account, "a/own.py")
    else:
        assert "which holds several strategies now" in str(refused.value)


def test_row_137_another_class_of_the_same_file_does_not_exit_a_position(
    live: TradedAccount,
) -> None:
    store_origin(live, "a/own.py:Often")
    live.fill("buy", "2", "100", 1)
    Path("a/own.py").write_text(TWO, encoding="utf-8")
    start = start_with(live, "a/own.py:Rarely")
    assert [one.settings.name for one in start.evaluators] == ["a/own.py:Often"]
    assert list(start.plan.exits_only) == ["BTC/USDT"]
    # A session of an earlier version has not stored the class: stop and target go on without it.
    store_origin(live, "a/own.py")
    plan = start_with(live, "a/own.py:Rarely").plan
    assert plan.stand_ins == {"BTC/USDT": "often"}


def test_row_137_a_copy_with_the_same_text_does_not_make_another_class_the_same(
    account: TradedAccount,
) -> None:
    for folder in ("a", "b"):
        Path(folder, "own.py").write_text(TWO, encoding="utf-8")
    store_origin(account, "a/own.py:Often")
    evaluator = start_with(account, "a/own.py:Often").evaluators[0]
    with account.store.write() as connection:
        connection.execute("UPDATE sessions SET code_digest = ?", (evaluator.strategy.code_digest,))
    start_with(account, "b/own.py:Often")
    with pytest.raises(SafetyRefusal, match=r"not of b/own\.py:Rarely"):
        start_with(account, "b/own.py:Rarely")


def test_the_program_stores_the_file_and_refuses_another_one(tmp_path: Path) -> None:
    with embedded_simulator() as simulator:

        def started(strategy: str) -> Program:
            flags = ("--exchange", "simulator", "--simulator-url", simulator.url)
            return Program("trader", *flags, "--strategy", strategy, folder=tmp_path)

        with started("a/own.py") as program:
            program.until("account paper simulator BTC/USDT 1h: opened with")
        with started("b/own.py") as program:
            assert program.ends() == 7
        assert "by strategy often of a/own.py:Often, not of b/own.py:Often" in program.errors[0]
        with started("a/own.py") as program:
            program.until("", inside=": HOLD")
        # What is not a change is not named as one.
        assert not [line for line in program.lines if "changed since" in line]
