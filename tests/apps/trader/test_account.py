"""Paper accounts: a stored start balance, one strategy, independent of other accounts."""

import time
from collections.abc import Callable, Coroutine, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import pytest

from onetape.cli.program import run_typer_app
from onetape.core.candles import SeriesKey
from onetape.core.errors import SafetyRefusal, UsageError
from onetape.core.setting import collect_settings
from onetape.core.trading import Fill, Order, Session
from onetape.engine import AccountConfig, ExitConfig
from onetape.execution.events import StatusReport
from onetape.store.accounts import AccountSeries, read_account
from onetape.store.database import open_store
from onetape.store.leases import Fence, acquire_lease
from onetape.store.orders import insert_order, store_order_change
from onetape.store.reservations import AccountCash
from onetape.store.sessions import start_session
from order_changes import change_of, fill_of
from session_harness import ACCOUNT, HOUR, KEY, MARCH, OFTEN, open_market, open_session
from traded_accounts import TradedAccount
from trader.account import (
    check_account_name,
    check_stored_account,
    choose_account_name,
    release_abandoned_entries,
)
from trader.evaluator.messages import LoadedStrategy
from trader.main import app
from trader.session_records import make_session
from trader.settings import TraderSettings

T = TypeVar("T")
Run = Callable[[Coroutine[Any, Any, T]], T]
StrategyFile = Callable[..., str]
STORED = AccountSeries(
    ACCOUNT, "paper", "simulator", "BTC/USDT", "1h", "rsi", "USDT", Decimal("5000.1"), 0
)


async def start_and_stop(db: Path, *, number: int, **given: Any) -> None:
    async with (
        open_market(0.25) as opened,
        open_session(opened, db, number=number, **given) as trading,
    ):
        await trading.until_live(opened)


def make_settings(
    cash: str | None = None, name: str | None = None, mode: str = "paper"
) -> TraderSettings:
    balance = None if cash is None else Decimal(cash)
    return TraderSettings(account_name=name, cash=balance, mode=mode)


def test_a_new_account_is_stored_with_its_exact_start_balance(
    run: Run[None], db: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(start_and_stop(db, number=1, cash="1234.123456789012345678"))
    with open_store(db, create=False) as store:
        stored = read_account(store, ACCOUNT)
    assert stored is not None
    assert stored.start_balance == Decimal("1234.123456789012345678")
    assert (stored.symbol, stored.strategy, stored.currency) == ("BTC/USDT", "rsi", "USDT")
    assert "account test: opened with 1,234.123456789012345678 USDT" in capsys.readouterr().out


def test_an_account_goes_on_with_its_stored_balance_where_none_is_named(
    run: Run[None], db: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(start_and_stop(db, number=1, cash="5000"))
    capsys.readouterr()
    run(start_and_stop(db, number=2))
    shown = capsys.readouterr().out
    assert "account test: 5,000.00 USDT, 0 BTC, 0 fills so far" in shown
    assert "opened" not in shown


@pytest.mark.parametrize(
    ("settings", "key", "strategy", "words"),
    [
        (
            make_settings("5000.2"),
            KEY,
            "rsi",
            "opened with 5,000.1 USDT, and cash .* is 5,000.2 now",
        ),
        (make_settings("10000"), KEY, "rsi", "is 10,000 now"),
        (make_settings(mode="live"), KEY, "rsi", r"trades on paper, not real money \(live\)"),
        (make_settings(), KEY, "macd", "by strategy rsi, not macd"),
        (make_settings(), SeriesKey("simulator", "ETH/EUR", "1h"), "rsi", "USDT, not .* ETH/EUR"),
        (make_settings(), SeriesKey("simulator", "BTC/USDT", "4h"), "rsi", "trades .*, not .* 4h"),
        (make_settings(), SeriesKey("binance", "BTC/USDT", "1h"), "rsi", "trades .*, not binance"),
    ],
)
def test_another_use_of_an_account_is_refused_with_a_remedy(
    settings: TraderSettings, key: SeriesKey, strategy: str, words: str
) -> None:
    with pytest.raises(SafetyRefusal, match=rf"{words}.*--account NAME") as refused:
        check_stored_account([STORED], settings, key, strategy)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("cash", [None, "5000.1", "5000.100"])
def test_the_same_use_of_an_account_is_accepted(cash: str | None) -> None:
    check_stored_account([STORED], make_settings(cash), KEY, "rsi")
    check_stored_account([], make_settings(cash), KEY, "macd")


def test_another_symbol_may_be_traded_with_the_money_of_an_account_by_another_strategy() -> None:
    check_stored_account(
        [STORED], make_settings(), SeriesKey("simulator", "ETH/USDT", "4h"), "macd"
    )


def test_a_refused_account_is_unchanged(run: Run[None], db: Path) -> None:
    run(start_and_stop(db, number=1, cash="5000"))
    for other in ({"cash": "6000"}, {"strategy": "macd"}):
        with pytest.raises(SafetyRefusal):
            run(start_and_stop(db, number=2, **other))
    with open_store(db, create=False) as store, store.read() as connection:
        assert connection.execute("SELECT count(*) FROM sessions").get == 1
        assert connection.execute("SELECT expires_ms FROM leases").get == 0
        assert connection.execute("SELECT start_balance FROM accounts").get == "5000"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--cash", "6000"], "opened with 5,000.1 USDT"),
        (["--strategy", "macd"], "by strategy rsi, not macd"),
    ],
)
def test_a_refused_account_ends_the_program_with_7_before_anything_is_sent(
    db: Path, capsys: pytest.CaptureFixture[str], flags: list[str], words: str
) -> None:
    with open_store(db, create=True) as store, store.write() as connection:
        connection.execute(
            "INSERT INTO accounts VALUES "
            "('a b', 'paper', 'simulator', 'BTC/USDT', '1h', 'rsi', 'USDT', '5000.1', 0)"
        )
    nowhere = ["--exchange", "simulator", "--simulator-url", "http://127.0.0.1:1"]
    given = [*nowhere, "--db", str(db), "--account", "a b", *flags]
    assert run_typer_app(app, "trader", given) == 7
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert "--account NAME" in line


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"parameters": {"period": 10}}, "period 14 -> 10"),
        ({"code_digest": "feedbeef77"}, "code 0 -> feedbeef"),
    ],
)
def test_changed_parameters_or_code_are_accepted_logged_and_stored(
    run: Run[None],
    db: Path,
    capsys: pytest.CaptureFixture[str],
    changed: Mapping[str, Any],
    words: str,
) -> None:
    before: dict[str, Any] = {"parameters": {"period": 14}, "code_digest": "0"}
    run(start_and_stop(db, number=1, **before))
    run(start_and_stop(db, number=2, **before | dict(changed)))
    line = f"changed since the session of 2024-03-01 00:15: {words}"
    assert f"account test: {line}\n" in capsys.readouterr().out
    with open_store(db, create=False) as store, store.read() as connection:
        rows = connection.execute("SELECT changes FROM sessions ORDER BY session").fetchall()
    assert rows == [(None,), (line,)]


def write_old_account(db: Path) -> None:
    """Write an account of an earlier version, whose one buy took 1,001 USDT."""
    with open_store(db, create=True) as store:
        fence = Fence(ACCOUNT, acquire_lease(store, ACCOUNT, "a test", now_ms=0, seconds=0))
        session = Session("old", "trader", "paper", ACCOUNT, *KEY.names, "rsi", {}, "0", 0)
        start_session(store, session, fence)
        with store.write() as connection:
            connection.execute(
                "INSERT INTO accounts VALUES (?, 'paper', ?, ?, ?, 'rsi', 'USDT', NULL, 0)",
                (ACCOUNT, *KEY.names),
            )
        order = Order(
            "o", "old", "paper", ACCOUNT, *KEY.names, "buy", "market", "intent", None,
            MARCH - 9 * HOUR, 0, None, None, Decimal(1), "", "rsi", {}, "0",
        )  # fmt: skip
        insert_order(store, order, fence)
        trade = Fill(
            "simulator", "BTC/USDT", "t", "o", "old", "paper", ACCOUNT, "buy", Decimal(100),
            Decimal(10), Decimal(1), "USDT", 0,
        )  # fmt: skip
        store_order_change(store, fill_of(trade, at_ms=0), fence)


def test_an_account_of_an_earlier_version_keeps_its_numbers_and_gets_a_stored_balance(
    run: Run[None], db: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_old_account(db)
    run(start_and_stop(db, number=1, cash="1001"))
    shown = capsys.readouterr().out
    assert "account test: 0.00 USDT, 10 BTC, 1 fill so far" in shown
    assert "an earlier version opened it" in shown
    assert "1,001 USDT is stored now and stays" in shown
    with pytest.raises(SafetyRefusal, match="opened with 1,001 USDT"):
        run(start_and_stop(db, number=2, cash="1002"))


def test_a_start_balance_that_contradicts_the_fills_of_an_old_account_is_refused(
    run: Run[None], db: Path
) -> None:
    write_old_account(db)
    with pytest.raises(SafetyRefusal, match=r"cannot be 1,000 USDT.*took 1,001; .*--cash"):
        run(start_and_stop(db, number=1, cash="1000"))
    with open_store(db, create=False) as store:
        stored = read_account(store, ACCOUNT)
    assert stored is not None
    assert stored.start_balance is None


def test_two_accounts_of_one_symbol_in_one_file_do_not_mix(
    run: Run[None], db: Path, strategy_file: StrategyFile
) -> None:
    reverse = OFTEN.replace("-rose", "rose").replace('"often"', '"reverse"')
    names = {"first": strategy_file(), "second": strategy_file(reverse, "reverse")}

    async def scene() -> None:
        async with (
            open_market(0.25) as opened,
            open_session(
                opened, db, strategy=names["first"], account_name="first", cash="1000", number=1
            ) as first,
            open_session(
                opened, db, strategy=names["second"], account_name="second", cash="50", number=2
            ) as second,
        ):
            for trading in (first, second):
                await trading.until_live(opened)
            for hour in range(1, 9):
                await opened.go_to(hour + 0.2)
                for trading in (first, second):
                    await trading.until_decided(hour - 1)
            for trading, most in ((first, 1_000), (second, 50)):
                trades = trading.fills()
                assert trades
                assert {trade.session for trade in trades} == {trading.context.session.session}
                sides = [trade.side for trade in trades]
                assert sides == [("buy", "sell")[place % 2] for place in range(len(sides))]
                assert trades[0].price * trades[0].amount <= most
            both = "SELECT count(DISTINCT action) FROM decisions WHERE timestamp = ? "
            for hour in range(1, 8):
                assert first.query(both, MARCH + hour * HOUR) != [(0,)]
            mixed = "SELECT * FROM orders JOIN sessions USING (session) WHERE orders.account <> "
            assert first.query(f"{mixed} sessions.account") == []

    run(scene())


@pytest.mark.parametrize(
    "name", ["mine", "paper binance BTC/USDT 1h", "Konto 1", "账户", "x" * 100]
)
def test_a_printable_account_name_is_accepted(name: str) -> None:
    check_account_name(make_settings(name=name))
    assert choose_account_name(make_settings(name=name), [KEY]) == name


@pytest.mark.parametrize(
    "name",
    ["", " ", " mine", "mine ", "a\tb", "a\nb", "\x1b[2J", "a\u202eb", "a\u200bb", "x" * 101],
)
def test_an_unprintable_account_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="account_name must be"):
        check_account_name(make_settings(name=name))


def test_names_that_look_alike_are_one_account() -> None:
    assert choose_account_name(make_settings(name="Zu\u0308rich"), [KEY]) == "Z\u00fcrich"


@pytest.mark.parametrize("cash", ["0", "-1", "NaN", "Infinity", "1e16"])
def test_an_invalid_start_balance_is_refused(cash: str) -> None:
    with pytest.raises(UsageError, match=r"cash must be (above 0|at most 1,000,000,000,000,000), "):
        make_settings(cash)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["-p", "BTC/USDT", "--symbol", "btc-usdt"], "--symbol: BTC/USDT is given twice"),
        (["-p", "BTC/USDT", "-p", "ETH/EUR"], "BTC/USDT is paid in USDT and ETH/EUR in EUR"),
        (["--max-open-trades", "0"], "--max-open-trades must be 1 or more, found 0"),
        (["-t", "1h", "-t", "4h", "-i", "1d"], "--timeframe is given 3 times (1h, 4h, 1d)"),
        (["--exchange", "binance", "--exchange", "kraken"], "--exchange is given 2 times"),
        (["--account", "a\tb"], "--account: account_name must be"),
        (["--cash", "much"], "--cash: account.cash: expected a number, found 'much'"),
        (["--cash", "0"], "--cash must be above 0, found 0"),
    ],
)
def test_invalid_flags_end_the_program_with_2_and_one_line(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    flags: list[str],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_typer_app(app, "trader", flags) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert list(tmp_path.iterdir()) == []


def test_an_environment_variable_names_the_account(
    db: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRADER__ACCOUNT_NAME", "\x1b[2J")
    assert run_typer_app(app, "trader", ["--db", str(db)]) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert "TRADER__ACCOUNT_NAME: account_name must be" in line
    assert "\x1b" not in line


def test_a_session_is_stored_with_all_settings_of_orders_and_exits_except_the_balance() -> None:
    settings = TraderSettings(
        account=AccountConfig(exits=ExitConfig(stop_loss=0.5, target_table={24: 0.125}))
    )
    stored = make_session(settings, "a", KEY, LoadedStrategy("rsi", 1, 0, (), {}, "0"), 0, {}).rules
    declared = collect_settings(AccountConfig).values()
    assert {*stored} == {one.name for one in declared} - {"cash"}
    assert (stored["stop_loss"], stored["target_table"]) == (0.5, {"24": 0.125})


def test_a_changed_fee_or_exit_is_named_and_a_new_setting_is_not(
    run: Run[None], db: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = {"fee_rate": 0.001, "stop_loss": None, "target_table": {"24": 0.1}}
    new = {"fee_rate": 0.002, "stop_loss": 0.5, "target_table": {24: 0.1}, "newer": 1}
    run(start_and_stop(db, number=1, rules=old))
    run(start_and_stop(db, number=2, rules=new))
    shown = capsys.readouterr().out
    assert ": fee_rate 0.001 -> 0.002, stop_loss none -> 0.5\n" in shown


@pytest.mark.parametrize("stage", ["never sent", "sent"])
def test_money_reserved_by_a_killed_paper_trader_is_free_at_the_next_start(
    db: Path, stage: str
) -> None:
    def start(wall_ms: int) -> list[str]:
        return release_abandoned_entries(killed.store, killed.name, wall_ms)

    with TradedAccount(db, cash="1000") as killed:
        order = killed.intend("buy", 1) if stage == "never sent" else killed.order("buy", 1)
        cash = AccountCash(killed.store, killed.name, "paper")
        cash.reserve(order, killed.fence, lambda _: Decimal(600), reserved_ms=0)
        now_ms = time.time_ns() // 1_000_000
        assert start(now_ms) == [], "its process runs"
        killed.lock.release()
        assert "entry in BTC/USDT" in start(now_ms + 60_000)[0]
        assert start(now_ms + 60_000) == []
        with killed.store.read() as connection:
            assert connection.execute("SELECT count(*) FROM reservations").get == 0
        # A process that was only suspended fills the order no more.
        filled = change_of(order, [StatusReport("canceled")], at_ms=now_ms)
        with pytest.raises(SafetyRefusal, match="another process took over"):
            store_order_change(killed.store, filled, killed.fence)


def test_a_real_order_that_was_sent_keeps_its_reservation_without_a_process(db: Path) -> None:
    with TradedAccount(db, cash="1000") as killed:
        order = killed.order("buy", 1)
        cash = AccountCash(killed.store, killed.name, "live")
        cash.reserve(order, killed.fence, lambda _: Decimal(600), reserved_ms=0)
        killed.lock.release()
        later_ms = time.time_ns() // 1_000_000 + 60_000
        assert release_abandoned_entries(killed.store, killed.name, later_ms) == []
        with killed.store.read() as connection:
            assert connection.execute("SELECT count(*) FROM reservations").get == 1
