"""A backtest from the tables to the printed result."""

import json
import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import asdict

from onetape.core.candles import Candles, SeriesKey
from onetape.core.trading_rules import NO_TRADING_RULES, TradingRules
from onetape.engine import AccountConfig, ExitConfig, SimulationResult, compute_metrics, simulate
from onetape.store.candles import insert_columns, read_candle_at, replace_forming
from onetape.store.database import open_store
from onetape.store.gaps import set_gap
from onetape.store.market_data import save_trading_rules
from onetape.strategies import evaluate_strategy, load_strategy

Run = Callable[..., Any]
KEY = SeriesKey("simulator", "BTC/USDT", "1h")
HOUR, DAY = 3_600, 86_400
START = 1_704_067_200
END = START + 120 * DAY
STEPS = TradingRules(Decimal("0.01"), Decimal("0.001"), Decimal("0.001"), Decimal(5))


def run_engine(
    candles: Candles, start: int, trading_rules: TradingRules, **parameters: str
) -> SimulationResult:
    """Return the engine's result on the candles, traded from `start` on."""
    strategy = load_strategy("rsi", parameters)
    signals = evaluate_strategy(strategy, candles)
    first = int(np.searchsorted(candles.timestamp, start))
    rules = AccountConfig(cash=10_000.0, fee_rate=0.001, trading_rules=trading_rules)
    return simulate(candles, signals.signal, rules, start_index=first)


def assert_equal_results(document: dict[str, Any], result: SimulationResult) -> None:
    reasons = {"entry_reason", "exit_reason"}
    trades = [
        {name: value for name, value in trade.items() if name not in reasons}
        for trade in document["trades"]
    ]
    assert trades == json.loads(json.dumps([asdict(trade) for trade in result.trades]))
    assert document["metrics"] == json.loads(json.dumps(compute_metrics(result).as_dict()))
    assert document["candles"] == len(result.candles)


def test_the_result_equals_the_engines_on_the_same_candles(
    backtest_json: Run, candles: Candles
) -> None:
    document = backtest_json("--param", "buy=35", "--param", "sell=65").document
    result = run_engine(candles, START, NO_TRADING_RULES, buy="35", sell="65")
    assert len(result.trades) > 3
    assert_equal_results(document, result)
    assert (document["from"], document["to"], document["warm_up"]) == (START, END, 0)
    assert document["parameters"]["buy"] == 35
    assert document["assumptions"]["trading rules"].startswith(
        "no price or amount rounding: simulator's"
    )
    assert all(isinstance(trade["entry_timestamp"], int) for trade in document["trades"])


#: Flags, the file used with them, and the rules that they must come to.
GIVEN: dict[str, tuple[str, str, AccountConfig]] = {
    "exits by flags": (
        "--stop-loss 0.03 --take-profit 0.04 --trailing-stop 0.025 --time-stop 30 --cooldown 5",
        "",
        AccountConfig(
            exits=ExitConfig(
                stop_loss=0.03, take_profit=0.04, trailing_stop=0.025, time_stop_bars=30
            ),
            cooldown_bars=5,
        ),
    ),
    "money by flags": (
        "--cash 5000 --fee 0.002 --slippage 7 --sizing equity_share=0.4",
        "",
        AccountConfig(
            cash=5_000.0, fee_rate=0.002, slippage_bps=7, sizing="equity_share", equity_share=0.4
        ),
    ),
    "all else by the file": (
        "--sizing risk_per_trade=0.02",
        "account: {maker_fee_rate: 0.0002, fee_currency: base, spread_bps: 10, "
        "volume_impact: 0.05, max_volume_share: 0.001}\n"
        "exits: {stop_loss: 0.05, target_table: {0: 0.05, 24: 0.01}}\n",
        AccountConfig(
            maker_fee_rate=0.0002, fee_currency="base", spread_bps=10, volume_impact=0.05,
            max_volume_share=0.001, sizing="risk_per_trade", risk_per_trade=0.02,
            exits=ExitConfig(stop_loss=0.05, target_table={0: 0.05, 24: 0.01}),
        ),
    ),
    "a target of volatility": (
        "--sizing volatility_target=0.2",
        "account: {volatility_bars: 50}\n",
        AccountConfig(sizing="volatility_target", volatility_target=0.2, volatility_bars=50),
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", GIVEN)
def test_the_settings_of_the_account_are_what_the_engine_trades_by(
    backtest_json: Run, candles: Candles, folder: Path, what: str
) -> None:
    flags, file, rules = GIVEN[what]
    (folder / "given.yaml").write_text(file or "{}\n")
    signals = evaluate_strategy(load_strategy("rsi", {}), candles)
    result = simulate(candles, signals.signal, rules)
    assert len(result.trades) > 10
    assert_equal_results(
        backtest_json("--trading-rules", "none", "--config", "given.yaml", *flags.split()).document,
        result,
    )


def test_only_the_range_is_traded_and_the_candles_before_it_are_the_warm_up(
    backtest_json: Run, candles: Candles
) -> None:
    document = backtest_json("--from", "2024-02-01", "--to", "2024-04-01").document
    start, end = START + 31 * DAY, START + 91 * DAY
    lookback = load_strategy("rsi", {}).lookback
    warm_up = max(100, lookback)
    part = candles[(start - START) // HOUR - warm_up : (end - START) // HOUR]
    assert_equal_results(document, run_engine(part, start, NO_TRADING_RULES))
    assert document["warm_up"] == warm_up
    assert not any("warm-up" in note for note in document["notes"])


def test_a_sizing_with_a_longer_lookback_than_the_strategy_works_from_the_first_candle(
    backtest_json: Run, candles: Candles, folder: Path
) -> None:
    (folder / "far.yaml").write_text(
        "account: {sizing: volatility_target, volatility_target: 0.2, volatility_bars: 900}\n"
    )
    flags = ("--config", "far.yaml", "--trading-rules", "none", "--strategy", "buy_and_hold")
    document = backtest_json(*flags, "--from", "2024-03-01").document
    assert document["warm_up"] == 901
    assert document["metrics"]["refused_orders"] == 0
    (trade,) = document["trades"]
    assert trade["entry_timestamp"] == START + 60 * DAY + HOUR
    known = np.log(candles.close[60 * 24 - 900 : 60 * 24 + 1])
    volatility = float(np.diff(known).std(ddof=1)) * (365 * 24) ** 0.5
    spent = 10_000 * min(1.0, 0.2 / volatility)
    assert trade["amount"] * trade["entry_price"] * 1.001 == pytest.approx(spent)


def test_a_warm_up_that_is_too_short_is_printed(backtest_json: Run) -> None:
    notes = backtest_json("--from", "2024-01-02").document["notes"]
    assert any(note.startswith("only 24 candles of warm-up") for note in notes)


def test_trading_rules_are_applied_unless_the_setting_is_none(
    backtest_json: Run, database: Path, candles: Candles
) -> None:
    with open_store(database, create=False) as store:
        save_trading_rules(store, "simulator", "BTC/USDT", STEPS, seen_ms=1)
    stepped = backtest_json().document
    assert_equal_results(stepped, run_engine(candles, START, STEPS))
    assert stepped["trades"]
    steps = [Decimal(str(trade["amount"])) * 1_000 for trade in stepped["trades"]]
    assert all(count == count.to_integral_value() for count in steps)
    assert stepped["assumptions"]["trading rules"] == (
        "simulator: price step 0.01, amount step 0.001, minimum order 5"
    )
    without_rules = backtest_json("--trading-rules", "none").document
    assert_equal_results(without_rules, run_engine(candles, START, NO_TRADING_RULES))


def test_an_invented_market_is_called_invented(backtest_json: Run) -> None:
    assert "this market is invented by the simulator" in backtest_json().document["notes"]


def test_a_run_without_a_trade_has_a_result(backtest_json: Run) -> None:
    document = backtest_json("--param", "buy=1", "--param", "sell=99").document
    assert document["trades"] == []
    assert document["metrics"]["final_equity"] == 10_000.0


def test_a_forming_candle_left_by_a_trader_is_not_part_of_the_range(
    backtest_json: Run, database: Path
) -> None:
    with open_store(database, create=False) as store:
        last = read_candle_at(store, KEY, END - HOUR)
        assert last is not None
        replace_forming(store, KEY, last._replace(timestamp=END), seen_ms=1)
    assert backtest_json().document["to"] == END


def delete(database: Path, start: int, end: int) -> None:
    with open_store(database, create=False) as store, store.write() as connection:
        connection.execute(
            "DELETE FROM ohlcv_data WHERE timestamp >= ? AND timestamp < ?", (start, end)
        )


def test_a_gap_is_refused_with_the_command_that_fills_it(
    backtest_json: Run, database: Path
) -> None:
    delete(database, START + 240 * HOUR, START + 243 * HOUR)
    delete(database, START + 300 * HOUR, START + 301 * HOUR)
    ended = backtest_json("--db", str(database), "--to", "2024-02-01")
    assert (ended.code, ended.out) == (4, "")
    assert ended.err == (
        "backtester: simulator BTC/USDT 1h has 4 candles missing in 2 places, first from "
        "2024-01-11 00:00 UTC (stored: 2024-01-01 00:00 to 2024-04-30 00:00 UTC); run: uv run "
        "backfiller --exchange simulator --symbol BTC/USDT --timeframe 1h --from 2024-01-01 "
        "--to 2024-02-01 --db data/simulator.db (or go on without them: --allow-gaps)\n"
    )


def test_a_gap_outside_the_range_does_not_matter(backtest_json: Run, database: Path) -> None:
    delete(database, START + 240 * HOUR, START + 243 * HOUR)
    assert backtest_json("--from", "2024-02-01").document["unexplained_gaps"] == 0


def test_an_allowed_gap_is_printed(backtest_json: Run, database: Path) -> None:
    delete(database, START + 240 * HOUR, START + 243 * HOUR)
    document = backtest_json("--allow-gaps").document
    assert (document["unexplained_gaps"], document["candles"]) == (3, 120 * 24 - 3)
    assert "3 candles missing, cause unknown (--allow-gaps)" in document["notes"]


def test_an_unproven_gap_is_refused_until_a_second_response(
    backtest_json: Run, database: Path
) -> None:
    start, end = START + 240 * HOUR, START + 243 * HOUR
    delete(database, start, end)
    with open_store(database, create=False) as store:
        set_gap(store, KEY, start, end, state="unproven", requested_ms=1)
    ended = backtest_json()
    assert (ended.code, ended.err.count("\n")) == (4, 1)
    expected = ", 2 minutes after the last run: a second response fetches or proves the gap"
    assert expected in ended.err


def test_only_commands_that_can_help_are_proposed(
    backtester: Run, tmp_path: Path, candles: Candles
) -> None:
    path = tmp_path / "kraken.db"
    with open_store(path, create=True) as store:
        key = SeriesKey("kraken", "MINA/EUR", "1h")
        insert_columns(store, key, candles, source="import", seen_ms=1)
    delete(path, START + 240 * HOUR, START + 243 * HOUR)
    flags = ("--exchange", "kraken", "--symbol", "MINA/EUR", "--db", str(path))
    for more in ((), ("--from", "2020-01-01", "--to", "2020-02-01")):
        ended = backtester(*flags, *more)
        assert (ended.code, ended.err.count("\n")) == (4, 1)
        assert "run: uv run backfiller import FILE --exchange kraken" in ended.err
        assert "run: uv run backfiller --exchange" not in ended.err
    assert "gaps --accept FROM..TO --because REASON" in backtester(*flags).err


def test_an_accepted_gap_is_printed_with_its_reason(backtest_json: Run, database: Path) -> None:
    start, end = START + 240 * HOUR, START + 243 * HOUR
    delete(database, start, end)
    with open_store(database, create=False) as store:
        set_gap(store, KEY, start, end, state="accepted", requested_ms=1, reason="outage")
    document = backtest_json().document
    assert "3 candles missing, accepted by a person as: outage" in document["notes"]
    assert (document["known_outages"], document["unexplained_gaps"]) == (3, 0)


def test_an_outage_of_the_exchange_is_printed_and_not_refused(
    backtest_json: Run, database: Path
) -> None:
    start, end = START + 240 * HOUR, START + 243 * HOUR
    delete(database, start, end)
    with open_store(database, create=False) as store:
        set_gap(store, KEY, start, end, state="none at exchange", requested_ms=1)
    document = backtest_json().document
    assert (document["known_outages"], document["unexplained_gaps"]) == (3, 0)
    assert "3 candles missing because the exchange has none there" in document["notes"]


def test_the_written_report_needs_no_network(backtester: Run, database: Path) -> None:
    del database
    ended = backtester("--exchange", "simulator", "--to", "2024-02-01")
    assert (ended.code, ended.err) == (0, "")
    (named,) = re.findall(r"^report: (.*)$", ended.out, re.MULTILINE)
    page = Path(named).read_text()
    assert re.fullmatch(r"data/runs/\d{8}T\d{6}Z_rsi_BTC-USDT_1h_[0-9a-f]{6}/report.html", named)
    assert page.lstrip().lower().startswith("<!doctype html>")
    # A link to follow is fine; nothing is loaded from anywhere.
    assert not re.search(r"""<(?:script|img|link|iframe)[^>]*["'](?:https?:)?//""", page)
    assert "database: data/simulator.db" in ended.out
    assert "this market is invented by the simulator" in ended.out


def test_the_report_goes_to_the_path_of_its_flag(backtester: Run, database: Path) -> None:
    del database
    arguments = ("--exchange", "simulator", "--to", "2024-02-01", "--json")
    document = backtester(*arguments, "--report", "mine/r.html").document
    assert document["report"] == "mine/r.html"
    assert Path("mine/r.html").stat().st_size > 10_000
    assert not Path("data/runs").exists()


def test_a_json_run_without_a_report_writes_no_file(backtest_json: Run, database: Path) -> None:
    before = database.read_bytes()
    assert backtest_json().document["report"] is None
    assert [entry.name for entry in database.parent.iterdir()] == [database.name]
    assert database.read_bytes() == before


@pytest.mark.parametrize(("to", "left_out"), [(None, END), ("2024-04-30", None)])
def test_the_last_row_that_plain_sql_wrote_is_left_out_with_a_note(
    backtest_json: Run, database: Path, to: str | None, left_out: int | None
) -> None:
    with open_store(database, create=False) as store, store.write() as connection:
        connection.execute(
            "INSERT INTO ohlcv_data (exchange, symbol, timeframe, timestamp, open, high, low, "
            "close, volume) VALUES ('simulator', 'BTC/USDT', '1h', ?, 1, 1, 1, 1, 1)",
            (END,),
        )
    document = backtest_json(*(() if to is None else ("--to", to))).document
    assert document["candles"] == (END - START) // HOUR
    assert document["left_out"] == left_out
    words = "the newest row, 2024-04-30 00:00 UTC, is left out: nothing proves that it is closed"
    assert any(note.startswith(words) for note in document["notes"]) == (left_out is not None)


HUGE = """
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onetape.strategies import Signals, Strategy


@dataclass(frozen=True)
class Huge(Strategy):
    name: ClassVar[str] = "huge"

    @property
    def lookback(self):
        return 1

    def evaluate(self, candles, higher):
        column = np.arange(len(candles)) * 1.0
        column[7], column[9] = 1.7e308, -1e304
        return Signals(np.zeros(len(candles), dtype=np.int8), {"huge": column})
"""


def test_a_value_that_would_overflow_the_chart_is_left_out_of_the_report(
    backtester: Run, database: Path, folder: Path
) -> None:
    del database
    (folder / "huge.py").write_text(HUGE)
    report = folder / "huge.html"
    arguments = ("--exchange", "simulator", "--strategy", "huge.py", "--report", str(report))
    assert backtester(*arguments).code == 0
    values = re.search(r'"name":"huge","values":\[([^]]*)\]', report.read_text())
    assert values is not None
    drawn = [None if text == "null" else float(text) for text in values[1].split(",")]
    assert drawn[6:11] == [6.0, None, 8.0, None, 10.0]
