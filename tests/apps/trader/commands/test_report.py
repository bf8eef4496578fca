"""`trader report`: what was traded and its backtest, each difference with cause and money."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onetape.cli.events import Event, handle_events
from onetape.engine import AccountConfig, Trade
from onetape.report import render_report
from onetape.store.account_reading import read_traded_series
from onetape.store.accounts import AccountSeries
from onetape.store.controls import NewControl, insert_controls
from onetape.store.database import open_store
from onetape.store.latecomers import insert_latecomers
from onetape.store.market_data import save_trading_rules
from repeatable import count_examples
from session_harness import ACCOUNT, KEY, OFTEN, SteppedMarket, open_market, open_session
from symbol_desk import run_symbol_sessions
from traded_accounts import DATABASE, MARCH, CommandResult, TradedAccount, compute_hour_ms
from trader.traded_report.account import TradedAccount as Compared
from trader.traded_report.account import compare_account
from trader.traded_report.causes import Causes
from trader.traded_report.differences import BacktestTrade, find_symbol_differences
from trader.traded_report.page import make_page_data
from trader.traded_report.positions import TradedPosition

Run = Callable[[Any], Any]
Capture = pytest.CaptureFixture[str]
Cli = Callable[..., CommandResult]
HOUR = 3_600


async def trade(
    opened: SteppedMarket, db: Path, strategy: str, pauses: int | None, capsys: Capture
) -> None:
    """Trade twelve hours on a stepped clock; a pause begins at an hour, where one is given."""
    async with open_session(opened, db, strategy=strategy) as trading:
        # The program stores the steps of its market before a session begins.
        save_trading_rules(trading.store, *KEY.names[:2], trading.context.market.trading_rules, 0)
        await trading.until_live(opened)
        for hour in range(1, 13):
            if hour == pauses:
                row = NewControl(ACCOUNT, "pause", 1_709_251_200_000, "anna on host")
                insert_controls(trading.store, [row])
                await trading.until(lambda: "paused by" in capsys.readouterr().out)
                await trading.until_no_open_order()
            await opened.go_to(hour + 0.1)
            await trading.until(lambda hour=hour: trading.source(hour))
            await trading.until_decided(hour - 1)
            await trading.until_no_open_order("buy")


def compare_with_backtest(
    run: Run, db: Path, strategy: str, capsys: Capture, pauses: int | None = None
) -> Compared:
    async def scene() -> None:
        async with open_market(0.25) as opened:
            await trade(opened, db, strategy, pauses, capsys)

    run(scene())
    with open_store(db, create=False) as store:
        return compare_account(store, read_traded_series(store), (strategy,))


@pytest.fixture
def often(strategy_file: Callable[..., str]) -> str:
    return strategy_file(OFTEN, "often")


def test_an_undisturbed_trader_does_not_differ_from_its_backtest(
    run: Run, db: Path, often: str, capsys: Capture
) -> None:
    found = compare_with_backtest(run, db, often, capsys)
    assert len(found.positions) > 2
    assert found.differences == []
    assert found.total == pytest.approx(0.0, abs=1e-6)
    assert found.equity == pytest.approx(found.backtest.equity)


def test_a_command_is_named_as_the_cause_of_a_difference_and_all_differences_add_up(
    run: Run, db: Path, often: str, capsys: Capture
) -> None:
    found = compare_with_backtest(run, db, often, capsys, pauses=5)
    causes = [one.cause for one in found.differences]
    assert any("state: paused by anna on host" in cause for cause in causes), causes
    assert sum(one.money for one in found.differences) == pytest.approx(found.total)
    page = render_report(make_page_data(found))
    assert "Paper trading of simulator BTC/USDT 1h" in page
    assert "Traded account and backtest" in page
    assert "paused by anna on host" in page


SELDOM = (
    OFTEN.replace("class Often", "class Seldom")
    .replace('"often"', '"seldom"')
    .replace("-rose.astype(np.int8)", "np.where(candles.volume % 2 > 1, -rose, 0).astype(np.int8)")
)


def test_symbols_with_different_strategies_share_one_page_and_one_backtest(
    run: Run, db: Path, strategy_file: Callable[..., str]
) -> None:
    strategies = {
        "ETH/USDT": strategy_file(OFTEN, "often"),
        "BTC/USDT": strategy_file(SELDOM, "seldom"),
    }

    amounts = AccountConfig(sizing="quote_amount", quote_amount=3_000.0)

    async def scene() -> None:
        async with (
            open_market(0.25) as opened,
            run_symbol_sessions(
                opened, db, strategies, account=amounts, cash="10000", entry_wait_seconds=30.0
            ) as trading,
        ):
            for desk_ in trading.desks.values():
                save_trading_rules(
                    desk_.store, *desk_.context.key.names[:2], desk_.context.market.trading_rules, 0
                )
                await desk_.until_live(opened)
            for hour in range(1, 9):
                await opened.go_to(hour + 0.1)
                await trading.until_decided(MARCH + (hour - 1) * HOUR)
                for desk_ in trading.desks.values():
                    await desk_.until(lambda own=desk_, hour=hour: own.source(hour))
                    await desk_.until_no_open_order("buy")

    events: list[Event] = []
    with handle_events(events.append):
        run(scene())
    bought = [one for one in events if one.event == "fill"]
    assert {one.fields["symbol"] for one in bought} == set(strategies)
    assert all(f" {one.fields['symbol'].split('/')[0]} at " in one.text for one in bought)
    with open_store(db, create=False) as store:
        found = compare_account(store, read_traded_series(store), tuple(strategies.values()))
    assert found.backtest.strategy_name == "often, seldom"
    assert dict(found.backtest.parameters) == {"ETH/USDT": "often", "BTC/USDT": "seldom"}
    assert {one.symbol for one in found.positions} == set(strategies)
    assert found.differences == []
    assert found.total == pytest.approx(0.0, abs=1e-6)
    page = render_report(make_page_data(found))
    assert "often, seldom" in page


def test_a_latecomer_is_named_as_the_cause_of_another_order_of_entries(
    trader: Cli, account: TradedAccount
) -> None:
    account.candles(*[(100.0, 101.0, 99.0, 100.5)] * 30)
    account.decide(20, 1, {"strategy": "ok"})
    account.fill("buy", "2", "100", 21.01, fee="0.2")
    insert_latecomers(
        account.store,
        {account.session.session: "the candle of 2024-03-01 20:00 is not decided on"},
        MARCH + 21 * HOUR,
        noted_ms=compute_hour_ms(21.01),
        waited_seconds=5.0,
    )
    (only,) = json.loads(trader("report", "--json").out)["differences"]
    assert only["cause"] == (
        "late: the entries at 2024-03-01 21:00 went on without BTC/USDT after 5 s: "
        "the candle of 2024-03-01 20:00 is not decided on"
    )


def test_an_account_without_fills_prints_one_line_and_writes_no_page(
    trader: Cli, folder: Path, account: TradedAccount
) -> None:
    account.candles((100.0, 101.0, 99.0, 100.5))
    ended = trader("report")
    assert (ended.code, ended.out, ended.err.count("\n")) == (4, "", 1)
    assert "has no fill of BTC/USDT yet" in ended.err
    assert not list((folder / DATABASE).parent.glob("*.html"))


def test_a_report_of_several_accounts_names_them(
    trader: Cli, folder: Path, account: TradedAccount
) -> None:
    del account
    with TradedAccount(folder / DATABASE, name="other", symbol="ETH/USDT"):
        ended = trader("report")
    assert (ended.code, "choose one with --account NAME" in ended.err) == (2, True)


def test_the_page_stands_in_the_folder_of_the_database_and_is_named_after_the_account(
    trader: Cli, folder: Path, account: TradedAccount
) -> None:
    account.candles(*[(100.0, 101.0, 99.0, 100.5)] * 30)
    account.decide(20, 1, {"strategy": "ok"})
    account.fill("buy", "2", "100", 21.01, fee="0.2")
    document = json.loads(trader("report", "--json").out)
    assert document["report"] == "data/onetape-test.html"
    assert (folder / document["report"]).read_text(encoding="utf-8").startswith("<!doctype html>")
    (only,) = document["differences"]
    assert only["what"] == "only traded: 2024-03-01 21:00, still open"
    assert only["money"] == pytest.approx(document["difference"]) == pytest.approx(0.8)


@pytest.fixture(scope="module")
def nothing_stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Causes]:
    """Return the causes of an account of which nothing is stored."""
    account = AccountSeries("a", "paper", *KEY.names, "rsi", "USDT", None, 0)
    with open_store(tmp_path_factory.mktemp("empty") / "new.db", create=True) as store:
        yield Causes(store, account, [], [])


money = st.integers(1, 400).map(float)
moments = st.integers(0, 30)


@st.composite
def draw_trades(draw: st.DrawFn) -> list[tuple[int, int | None, float, float, float, float]]:
    """Return trades one after the other: entry and exit hours, prices, amount, fees."""
    found: list[tuple[int, int | None, float, float, float, float]] = []
    hour = draw(moments)
    for _ in range(draw(st.integers(0, 5))):
        left = hour + draw(st.integers(0, 4))
        found.append((hour, left, draw(money), draw(money), draw(money), draw(money) / 100))
        hour = left + draw(st.integers(1, 4))
    return found


@settings(max_examples=count_examples(150))
@given(draw_trades(), draw_trades())
def test_the_money_of_all_differences_is_the_difference_of_the_profits(
    nothing_stored: Causes, own: list[Any], other: list[Any]
) -> None:
    traded = [
        TradedPosition(
            KEY.symbol, "s", (hour - 1) * HOUR, hour * HOUR, left * HOUR, price, price_out, amount,
            fee, amount * (price_out - price) - fee + rest, "market", "", "",
        )
        for hour, left, price, price_out, amount, fee in own
        # As of a fee in base currency, or of an amount that was left over.
        for rest in [fee / 3]
    ]  # fmt: skip
    tested = [
        BacktestTrade(
            Trade(
                hour, hour * HOUR, price, left, left * HOUR, price_out, amount, fee, 0.0,
                amount * (price_out - price) - fee, 0.0, 1, False, "signal", "",
            ),
            (hour - 1) * HOUR,
            price_out,
        )
        for hour, left, price, price_out, amount, fee in other
    ]  # fmt: skip
    found = find_symbol_differences(traded, tested, nothing_stored, 0.0)
    expected = sum(one.profit for one in traded) - sum(one.trade.profit for one in tested)
    assert sum(one.money for one in found) == pytest.approx(expected, abs=1e-6)
