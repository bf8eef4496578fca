"""Invalid input to the backtester: one line, the documented exit code, and nothing written."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onetape.core.candles import Candle, SeriesKey
from onetape.store.candles import insert_closed_rows
from onetape.store.database import open_store

HOUR = 3_600
#: 2024-01-01 00:00 UTC.
START = 1_704_067_200
Run = Callable[..., Any]
#: Longer than any file's name.
LONG = "x" * 300


def read_files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def check(ended: Any, code: int, words: str) -> None:
    assert (ended.code, ended.out) == (code, "")
    assert ended.err.startswith("backtester: ")
    assert ended.err.count("\n") == 1
    assert words in ended.err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ("--strategy rsii", 2, "did you mean 'rsi'"),
        ("--param perod=10", 2, "did you mean 'period'"),
        ("--param period=x", 2, "period"),
        ("--param period=-1", 2, "period"),
        ("--param period", 2, "write name=value"),
        ("--symbol BTC/USDT:USDT", 2, "is a derivative"),
        ("--symbol BTC/USDR", 4, "did you mean 'simulator BTC/USDT 1h'?"),
        ("--timeframe 1x", 2, "was not understood"),
        ("--timeframe 4h", 4, "holds no closed candle of simulator BTC/USDT 4h"),
        ("--exchange simulatr", 4, "does not exist; fill it first"),
        ("--from 2024-03-02 --to 2024-03-01", 2, "is not after from"),
        ("--from 2024-03-01 --to 2024-03-01", 2, "is not after from"),
        ("--from nonsense", 2, "--from 'nonsense' was not understood"),
        ("--timerange 20240101- --to 2024-02-01", 2, "leave one of them out"),
        ("--from 2025-01-01", 4, "nothing is stored of simulator BTC/USDT 1h from 2025-01-01"),
        ("--to 2023-01-01", 4, "nothing is stored of simulator BTC/USDT 1h to 2023-01-01"),
        ("--from 2023-12-01", 4, "--from 2023-12-01 --to 2024-04-30"),
        ("--to 2024-06-01", 4, "missing from 2024-04-30 00:00 UTC"),
        ("--cash 0", 2, "cash must be above 0"),
        ("--cash nan", 2, "--cash must be above 0, found nan"),
        ("--cash 1e308", 2, "--cash must be at most 1,000,000,000,000,000, found 1e+308"),
        ("--cash=-5", 2, "cash must be above 0, found -5.0"),
        ("--fee 1.5", 2, "fee_rate must be 0 or more and under 1, found 1.5"),
        ("--fee 1", 2, "fee_rate must be 0 or more and under 1, found 1.0"),
        ("--fee=-0.001", 2, "fee_rate must be 0 or more and under 1, found -0.001"),
        ("--slippage=-1", 2, "slippage_bps must be 0 or more"),
        ("--stop-loss 1.5", 2, "--stop-loss must be above 0 and under 1 (0.05 is 5 %)"),
        ("--sizing equity_share=2", 2, "equity_share must be above 0 and at most 1"),
        ("--sizing foo=1", 2, "--sizing 'foo=1' was not understood; write all_in, or a kind"),
        ("--sizing quote_amount", 2, "--sizing quote_amount needs a number above 0: write"),
        ("--roi-table 0=1%,5h=2%", 2, "--roi-table: target_table must fall with time"),
        ("--roi-table 0=2%,24=1%", 2, "--roi-table: exits.target_table: expected keys such as"),
        ("--roi-table 0=2%,90m=1%", 2, "--roi-table: target_table must have times of whole 1h"),
        ("--roi-table soon", 2, "--roi-table: exits.target_table: expected KEY=VALUE,KEY=VALUE"),
        ("--spread-bps=-1", 2, "--spread-bps must be 0 or more"),
        ("--fee-currency gold", 2, "--fee-currency must be one of quote, base"),
        ("--trading-rules reel", 2, "--trading-rules must be one of exchange, none, found 'reel'"),
        ("--timeframe-detail 1x", 2, "--timeframe-detail: timeframe '1x' was not understood"),
        ("--sizing equity_share=2", 2, "--sizing: equity_share must be above 0 and at most 1"),
        ("--stratgy rsi", 2, "No such option: --stratgy"),
        ("--config none.yaml", 3, "none.yaml does not exist"),
        ("--config broken.yaml", 3, "broken.yaml:2: no valid YAML"),
        ("--config unknown.yaml", 3, "unknown.yaml:2: unknown key 'strategy.nam'; did you mean"),
        (f"--config {LONG}", 3, "cannot be read: File name too long"),
        (f"--db {LONG}", 3, "File name too long"),
        (f"--strategy {LONG}.py", 2, "File name too long; name a .py file"),
        (f"--strategy {LONG}.py:Mine", 2, "File name too long; name a .py file"),
        ("--db \udcff.db", 2, "'\\udcff.db' is not UTF-8 text"),
        ("--symbol \udcff/USDT", 2, "is not UTF-8 text"),
        ("--param \udcff=1", 2, "--param: strategy.parameters: '\\udcff' is not UTF-8 text"),
        ("--report ~nobody-here/x.html", 2, "expected a path whose ~ is the home of a user"),
        ("--param period=5 --param period=6", 2, "--param period is given twice, as 5 and as 6"),
        ("--db notes.txt", 4, "notes.txt is not a SQLite database"),
        ("--db none.db", 4, "none.db does not exist; fill it first: uv run backfiller"),
    ],
)
def test_invalid_input_prints_one_line_and_changes_nothing(
    backtest_json: Run, folder: Path, arguments: str, code: int, words: str
) -> None:
    (folder / "notes.txt").write_text("no database " * 200)
    (folder / "broken.yaml").write_text("symbol: [A/B\nfrom: 2024-01-01\n")
    (folder / "unknown.yaml").write_text("strategy:\n  nam: rsi\n")
    before = read_files(folder)
    check(backtest_json(*arguments.split(" ")), code, words)
    assert read_files(folder) == before


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("trading_rules: reel", "trading_rules must be one of exchange, none, found 'reel'"),
        ("symbol: BTCUSDT", "symbol 'BTCUSDT' was not understood"),
        ("timeframe: 1x", "timeframe '1x' was not understood"),
        ("timeframe_detail: 1x", "timeframe_detail: timeframe '1x' was not understood"),
        ("timeframe_detail: 2h", "timeframe_detail must be under the timeframe 1h, found 2h"),
        ("from: soon", "from 'soon' was not understood"),
        ("max_open_trades: 0", "max_open_trades must be 1 or more, found 0"),
        ("account: {fee_rate: 1.5}", "fee_rate must be 0 or more and under 1, found 1.5"),
        ("account: {fee_currency: gold}", "fee_currency must be one of quote, base, found 'gold'"),
        ("account: {sizing: half}", "sizing must be one of all_in,"),
        ("exits: {stop_loss: 5}", "stop_loss must be above 0 and under 1 (0.05 is 5 %), found 5"),
        ("strategy: {name: rsii}", "strategy.name: strategy 'rsii' does not exist; did you mean"),
        ("strategy: {parameters: {period: 1}}", "strategy rsi: period must be 2 to 500, found 1"),
    ],
)
def test_an_invalid_value_in_a_file_names_file_and_line_and_exits_with_3(
    backtest_json: Run, folder: Path, line: str, words: str
) -> None:
    (folder / "mine.yaml").write_text(f"check: false\n{line}\n")
    check(backtest_json("--config", "mine.yaml"), 3, f"backtester: mine.yaml:2: {words}")


@pytest.mark.parametrize(
    ("arguments", "flag"),
    [
        (["-p", ""], "--symbol"),
        (["--symbol", " "], "--symbol"),
        (["-p", "BTC/USDT", "-p", ""], "--symbol"),
        (["--exchange", ""], "--exchange"),
        (["-t", ""], "--timeframe"),
        (["--from", ""], "--from"),
        (["-s", ""], "--strategy"),
        (["--sizing", ""], "--sizing"),
        (["--trading-rules", ""], "--trading-rules"),
        (["--param", "period="], "--param"),
    ],
)
def test_an_empty_flag_is_refused_rather_than_taken_for_the_default(
    backtest_json: Run, arguments: list[str], flag: str
) -> None:
    check(
        backtest_json(*arguments),
        2,
        f"backtester: {flag} is empty; give it a value, or leave it out",
    )


def test_an_invalid_value_in_the_environment_names_the_variable(
    backtest_json: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BACKTESTER__TRADING_RULES", "reel")
    check(
        backtest_json(),
        3,
        "backtester: BACKTESTER__TRADING_RULES: trading_rules must be one of exchange, none",
    )


def test_a_conflict_of_a_flag_with_a_file_names_the_flag(backtest_json: Run, folder: Path) -> None:
    (folder / "mine.yaml").write_text("timeframe: 1h\n")
    ended = backtest_json("--config", "mine.yaml", "--timeframe-detail", "1h")
    check(ended, 2, "--timeframe-detail must be under the timeframe 1h, found 1h")


NOISY = """
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onetape.strategies import Signals, Strategy

print("imported")


@dataclass(frozen=True)
class Noisy(Strategy):
    name: ClassVar[str] = "noisy"

    def __post_init__(self):
        print("made")

    @property
    def lookback(self):
        print("lookback")
        return 1

    def evaluate(self, candles, higher):
        print("evaluated")
        return Signals(np.zeros(len(candles), dtype=np.int8), {})
"""


def test_what_a_strategy_prints_goes_to_stderr_and_leaves_the_document_whole(
    backtest_json: Run, folder: Path
) -> None:
    (folder / "noisy.py").write_text(NOISY)
    ended = backtest_json("--strategy", "noisy.py")
    assert ended.code == 0
    assert json.loads(ended.out)["strategy"] == "noisy"
    # The bias check after the run evaluates the strategy a hundred times more, without output.
    printed = ended.err.split()
    assert [*dict.fromkeys(printed)] == ["imported", "made", "lookback", "evaluated"]
    assert printed.count("evaluated") == 1


def test_a_missing_database_is_reported_with_the_command_that_fills_it(
    backtester: Run, folder: Path
) -> None:
    ended = backtester("--symbol", "ETH/USDT", "--db", "my data/x.db")
    check(
        ended,
        4,
        "my data/x.db does not exist; fill it first: uv run backfiller --exchange binance "
        "--symbol ETH/USDT --timeframe 1h --db 'my data/x.db'",
    )
    assert read_files(folder) == {}


def test_an_invalid_range_is_reported_before_the_database_is_opened(backtester: Run) -> None:
    check(backtester("--from", "2024-02-01", "--to", "2024-01-01"), 2, "is not after from")


def test_a_report_path_that_cannot_be_written_is_named(
    backtester: Run, database: Path, folder: Path
) -> None:
    del database
    (folder / "file").write_text("")
    before = read_files(folder)
    ended = backtester("--exchange", "simulator", "--report", "file/report.html")
    check(ended, 3, "cannot be written")
    assert read_files(folder) == before


def test_a_gap_that_kraken_no_longer_serves_is_refused_with_the_import_command(
    backtester: Run, folder: Path
) -> None:
    rows = [Candle(START + at * HOUR, 1.0, 1.0, 1.0, 1.0, 1.0) for at in range(60) if at != 30]
    with open_store(folder / "k.db", create=True) as store:
        key = SeriesKey("kraken", "MINA/EUR", "1h")
        insert_closed_rows(store, key, rows, source="import", seen_ms=0)
    ended = backtester(
        "--exchange", "kraken", "--symbol", "MINA/EUR", "--timeframe", "1h", "--db", "k.db"
    )
    assert ended.code == 4
    assert "run: uv run backfiller import FILE --exchange kraken --symbol MINA/EUR" in ended.err
    assert "kraken serves its newest ones only" in ended.err
