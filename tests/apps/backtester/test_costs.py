"""`backtester costs`: the spread that is measured, the setting that is written, each refusal."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from docs_pages import copy_config
from onetape.backtest.config import BacktestConfig, StrategyChoice
from onetape.backtest.spreads import measure_spreads
from onetape.engine import AccountConfig
from onetape.store.database import open_store
from repeatable import count_examples
from unprivileged import make_unprivileged_command

Run = Callable[..., Any]
Quote = tuple[float | None, float | None]
DATABASE = Path("data/simulator.db")
OWN = Path("user/config/backtester.yaml")
#: 2024-03-01 00:00 UTC.
START_MS = 1_709_251_200_000
SIMULATOR = ("costs", "--exchange", "simulator")


def make_quote(spread_bps: float, mid: float = 100.0) -> Quote:
    """Return a bid and an ask with this spread."""
    return mid * (1 - spread_bps / 20_000), mid * (1 + spread_bps / 20_000)


def store_tickers(
    quotes: Sequence[Quote],
    symbol: str = "BTC/USDT",
    *,
    exchange: str = "simulator",
    path: Path = DATABASE,
    start_ms: int = START_MS,
) -> None:
    """Store one ticker a second, as a trader does."""
    with open_store(path, create=True) as store, store.write() as connection:
        connection.executemany(
            "INSERT INTO ticker_data (exchange, symbol, timestamp_ms, bid, ask, last) "
            "VALUES (?, ?, ?, ?, ?, 100.0)",
            [
                (exchange, symbol, start_ms + 1_000 * second, bid, ask)
                for second, (bid, ask) in enumerate(quotes)
            ],
        )


def write_own_file(text: str) -> Path:
    """Write the user's settings file."""
    OWN.parent.mkdir(parents=True, exist_ok=True)
    OWN.write_text(text)
    return OWN


def read_files(folder: Path) -> dict[str, bytes]:
    """Return the content of each file of a folder but the database's own."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.parent.name != "data"
    }


def assert_refused(ended: Any, code: int, text: str) -> None:
    """Check that a run ended with one line that holds a text, and printed nothing else."""
    assert (ended.code, ended.out, ended.err.count("\n")) == (code, "", 1), ended
    assert ended.err.startswith("backtester: ")
    assert text in ended.err


def test_the_document_has_median_and_90th_percentile_of_the_spread(
    backtester: Run, folder: Path
) -> None:
    store_tickers([make_quote(bps) for bps in range(1, 102)])
    document = backtester(*SIMULATOR, "--json").document
    (measured,) = document.pop("symbols")
    assert measured.pop("median_bps") == pytest.approx(51, rel=1e-9)
    assert measured.pop("percentile_90_bps") == pytest.approx(91, rel=1e-9)
    assert measured.pop("half_spread_bps") == pytest.approx(25.5, rel=1e-9)
    assert measured == {
        "symbol": "BTC/USDT",
        "tickers": 101,
        "left_out": 0,
        "first_ms": START_MS,
        "last_ms": START_MS + 100_000,
    }
    assert document == {
        "database": "data/simulator.db",
        "exchange": "simulator",
        "setting": "account.spread_bps",
        "spread_bps": 51.0,
        "half_spread_bps": 25.5,
        "slippage_bps": 0.0,
        "before": 0.0,
        "written": None,
    }
    assert read_files(folder) == {}


@settings(max_examples=count_examples(40))
@given(
    spreads=st.lists(st.floats(0.001, 900), min_size=100, max_size=160),
    mid=st.sampled_from([1e-7, 0.3, 64_000.0]),
)
def test_the_measured_spread_equals_that_of_a_plain_loop(
    tmp_path_factory: pytest.TempPathFactory, spreads: list[float], mid: float
) -> None:
    path = tmp_path_factory.mktemp("spreads") / "one.db"
    quotes = [make_quote(each, mid) for each in spreads]
    store_tickers(quotes, path=path)
    config = BacktestConfig(
        exchange="simulator",
        strategy=StrategyChoice("rsi", {}),
        account=AccountConfig(),
        database=path,
    )
    (measured,) = measure_spreads(config)
    loop = sorted(
        10_000 * (ask - bid) / ((ask + bid) / 2)
        for bid, ask in quotes
        if bid is not None and ask is not None
    )
    for part, found in ((0.5, measured.median_bps), (0.9, measured.percentile_90_bps)):
        place = part * (len(loop) - 1)
        low = loop[int(place)]
        high = loop[min(int(place) + 1, len(loop) - 1)]
        assert found == pytest.approx(low + (high - low) * (place - int(place)), rel=1e-9)


def test_the_table_has_formula_and_numbers_and_the_cost_of_a_market_order(
    backtester: Run, folder: Path
) -> None:
    del folder
    store_tickers([make_quote(3.0)] * 150)
    ended = backtester(*SIMULATOR)
    assert (ended.code, ended.err) == (0, "")
    head, titles, row, paid, setting = ended.out.splitlines()
    assert head == (
        "spread on simulator in bps, (ask - bid) / mid price x 10,000, "
        "from the tickers in data/simulator.db"
    )
    assert titles.split("  ")[0] == "symbol"
    assert " ".join(row.split()) == ("BTC/USDT 150 0 2024-03-01 00:00 2024-03-01 00:02 3 3 1.5")
    assert paid == (
        "with spread_bps 3 a market order pays 1.5 bps of the price (spread_bps / 2), "
        "plus slippage_bps 0, which is not measured"
    )
    assert setting == (
        "account.spread_bps is 0; --write sets it to 3, the median, in user/config/backtester.yaml"
    )


def test_the_example_in_the_docs_equals_the_output(
    backtester: Run, folder: Path, repository: Path
) -> None:
    """A day of tickers: a spread of one price step, and of two in every eighth second."""
    copy_config(repository, folder)
    page = (repository / "docs/rules.md").read_text(encoding="utf-8")
    command, shown = re.findall(r"\$ uv run backtester (costs .*)\n((?:.+\n)+?)```", page)[0]
    for symbol, bid in (("BTC/USDT", 64_000.0), ("ETH/USDT", 3_400.0)):
        quotes: list[Quote] = [
            (bid, bid + (0.01 if second % 8 else 0.02)) for second in range(86_400)
        ]
        if symbol == "ETH/USDT":
            quotes[100] = quotes[101] = (bid, bid)
        store_tickers(quotes, symbol, exchange="binance", path=Path("data/onetape.db"))
    ended = backtester(*shlex.split(command))
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == shown


def test_several_symbols_have_a_row_each_and_the_largest_median_is_written(
    backtester: Run, folder: Path
) -> None:
    del folder
    store_tickers([make_quote(1.0)] * 100)
    store_tickers([make_quote(4.0)] * 100, "ETH/USDT")
    ended = backtester(*SIMULATOR, "-p", "BTC/USDT", "-p", "ETH/USDT", "--write")
    assert (ended.code, ended.err) == (0, "")
    assert [line.split()[0] for line in ended.out.splitlines()[2:4]] == ["BTC/USDT", "ETH/USDT"]
    assert "account.spread_bps is now 4, the largest median, in user/config" in ended.out
    assert OWN.read_text() == "account:\n  spread_bps: 4\n"


def test_the_symbols_of_the_settings_file_are_measured(backtester: Run, folder: Path) -> None:
    del folder
    write_own_file("exchange: simulator\nsymbol: ETH/USDT\n")
    store_tickers([make_quote(4.0)] * 100, "ETH/USDT")
    (measured,) = backtester("costs", "--json").document["symbols"]
    assert measured["symbol"] == "ETH/USDT"


def test_tickers_without_a_bid_below_the_ask_are_left_out_and_counted(
    backtester: Run, folder: Path
) -> None:
    del folder
    bad: list[Quote] = [(None, 100.0), (100.0, None), (None, None), (100.0, 100.0), (101.0, 100.0)]
    store_tickers([*bad, *[make_quote(3.0)] * 120, *bad])
    (measured,) = backtester(*SIMULATOR, "--json").document["symbols"]
    assert (measured["tickers"], measured["left_out"]) == (120, 10)
    assert measured["first_ms"] == START_MS + 5_000
    assert measured["median_bps"] == pytest.approx(3, rel=1e-9)


def test_a_written_spread_is_charged_by_backtests_even_if_later_tickers_are_stored(
    backtester: Run, database: Path
) -> None:
    store_tickers([make_quote(7.0)] * 100, path=database)
    backtest = ("--exchange", "simulator", "--strategy", "sma_cross", "--json")
    free = backtester(*backtest).document
    wanted = backtester(*backtest, "--spread-bps", "7").document
    assert backtester(*SIMULATOR, "--write").code == 0
    first = backtester(*backtest).document
    store_tickers([make_quote(90.0)] * 500, path=database, start_ms=START_MS + 10**6)
    second = backtester(*backtest).document
    assert first["trades"] == second["trades"] == wanted["trades"]
    assert first["metrics"] == second["metrics"] == wanted["metrics"]
    assert first["trades"] != free["trades"]


def test_only_one_line_of_the_users_settings_file_is_changed(
    backtester: Run, folder: Path, repository: Path
) -> None:
    text = (repository / "config/backtester.yaml").read_text(encoding="utf-8")
    write_own_file(f"# mine\n{text}# the end")
    store_tickers([make_quote(3.0)] * 100)
    before = OWN.read_text().splitlines()
    assert backtester(*SIMULATOR, "--write").code == 0
    after = OWN.read_text().splitlines()
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert changed == [
        (
            "  spread_bps: 0           # distance of bid and ask, in bps of the price; a market "
            "order pays half",
            "  spread_bps: 3           # distance of bid and ask, in bps of the price; a market "
            "order pays half",
        )
    ]
    document = backtester(*SIMULATOR, "--write", "--json").document
    assert (document["before"], document["written"]) == (3.0, "user/config/backtester.yaml")
    assert OWN.read_text().splitlines() == after
    assert [*read_files(folder)] == [str(OWN)]


def test_without_a_users_settings_file_the_default_file_is_copied(
    backtester: Run, folder: Path, repository: Path
) -> None:
    text = (repository / "config/backtester.yaml").read_text(encoding="utf-8")
    default = Path("config/backtester.yaml")
    default.parent.mkdir()
    default.write_text(text)
    store_tickers([make_quote(3.0)] * 100)
    ended = backtester(*SIMULATOR, "--write")
    assert ended.code == 0
    assert "in user/config/backtester.yaml, a new copy of config/backtester.yaml" in ended.out
    assert default.read_text() == text
    assert OWN.read_text() == text.replace("spread_bps: 0  ", "spread_bps: 3  ")
    assert sorted(read_files(folder)) == ["config/backtester.yaml", str(OWN)]


def test_the_file_named_by_config_is_changed(backtester: Run, folder: Path) -> None:
    write_own_file("symbol: BTC/USDT\n")
    other = folder / "other.yaml"
    other.write_text("account: {cash: 500}  # small\n")
    store_tickers([make_quote(3.0)] * 100)
    assert backtester(*SIMULATOR, "--write", "--config", "other.yaml").code == 0
    assert other.read_text() == "account: {spread_bps: 3, cash: 500}  # small\n"
    assert OWN.read_text() == "symbol: BTC/USDT\n"


def test_a_variable_that_takes_precedence_over_the_written_value_is_named(
    backtester: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del folder
    monkeypatch.setenv("BACKTESTER__ACCOUNT__SPREAD_BPS", "9")
    store_tickers([make_quote(3.0)] * 100)
    ended = backtester(*SIMULATOR, "--write")
    assert ended.code == 0
    assert ended.err == (
        "note: the variable BACKTESTER__ACCOUNT__SPREAD_BPS takes precedence over "
        "user/config/backtester.yaml: backtests pay a spread of 9 bps until it is unset\n"
    )
    assert OWN.read_text() == "account:\n  spread_bps: 3\n"


@pytest.mark.parametrize(
    ("quotes", "text"),
    [
        ([], "data/simulator.db holds no tickers of simulator BTC/USDT; a trader stores one a"),
        (
            [make_quote(3.0)] * 99,
            "holds 99 tickers of simulator BTC/USDT, and 100 are needed; a trader",
        ),
        (
            [make_quote(3.0)] * 99 + [(101.0, 100.0)] * 200,
            "holds 299 tickers of simulator BTC/USDT, 99 with a bid below the ask, and 100 are",
        ),
        (
            [(None, 100.0)] * 150,
            "holds 150 tickers of simulator BTC/USDT, 0 with a bid below the ask, and 100 are",
        ),
    ],
)
def test_too_few_tickers_are_refused_with_the_command_that_stores_more(
    backtester: Run, folder: Path, quotes: list[Quote], text: str
) -> None:
    file = write_own_file("account:\n  spread_bps: 5\n")
    store_tickers(quotes)
    before = read_files(folder)
    for flags in ((), ("--write",), ("--json",)):
        ended = backtester(*SIMULATOR, *flags)
        assert_refused(ended, 4, text)
        assert "uv run trader --exchange simulator --symbol BTC/USDT\n" in ended.err
    assert read_files(folder) == before
    assert str(file) in before


def test_one_symbol_of_several_without_tickers_changes_nothing(
    backtester: Run, folder: Path
) -> None:
    store_tickers([make_quote(3.0)] * 100)
    ended = backtester(*SIMULATOR, "-p", "BTC/USDT", "-p", "BTX/USDT", "--write")
    assert_refused(ended, 4, "holds no tickers of simulator BTX/USDT; a trader stores")
    assert "did you mean 'simulator BTC/USDT'?" in ended.err
    assert read_files(folder) == {}


def test_a_missing_database_is_reported_and_not_created(backtester: Run, folder: Path) -> None:
    ended = backtester("costs", "--db", "data/none.db", "--write")
    assert_refused(
        ended, 4, "data/none.db does not exist; a trader stores bid and ask while it runs: "
    )
    assert ended.err.endswith(
        "uv run trader --exchange binance --symbol BTC/USDT --db data/none.db\n"
    )
    assert [*folder.rglob("*")] == []


def test_a_file_that_is_not_a_database_is_reported(backtester: Run, folder: Path) -> None:
    (folder / "notes.db").write_text("not a database, but some text in it")
    assert_refused(
        backtester("costs", "--db", "notes.db", "--write"), 4, "notes.db is not a SQLite"
    )
    assert [*read_files(folder)] == ["notes.db"]


def test_a_spread_outside_the_bounds_of_the_setting_is_measured_and_not_written(
    backtester: Run, folder: Path
) -> None:
    store_tickers([(1.0, 1_000.0)] * 100)
    assert backtester(*SIMULATOR).code == 0
    ended = backtester(*SIMULATOR, "--write")
    assert_refused(
        ended, 4, "the measured spread cannot be a setting: spread_bps must be 0 or more"
    )
    assert "user/config/backtester.yaml is not changed" in ended.err
    assert read_files(folder) == {}


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("account: {spread_bps: [", "user/config/backtester.yaml:1: no valid YAML"),
        ("acount: {}\n", "user/config/backtester.yaml:1: unknown key 'acount'"),
        (
            "account:\n  slippage_bps: &bps 2\n  spread_bps: *bps\n",
            "user/config/backtester.yaml:3: account.spread_bps cannot be changed here without "
            "changing other values; set account.spread_bps to 3 by hand",
        ),
    ],
)
def test_a_settings_file_that_cannot_be_edited_stays_unchanged(
    backtester: Run, folder: Path, text: str, error: str
) -> None:
    write_own_file(text)
    store_tickers([make_quote(3.0)] * 100)
    before = read_files(folder)
    assert_refused(backtester(*SIMULATOR, "--write"), 3, error)
    assert read_files(folder) == before


def test_a_settings_file_without_write_permission_stays_unchanged(
    backtester: Run, folder: Path
) -> None:
    write_own_file("account:\n  spread_bps: 5\n").chmod(0o444)
    store_tickers([make_quote(3.0)] * 100)
    before = read_files(folder)
    assert_refused(
        backtester(*SIMULATOR, "--write"),
        3,
        "user/config/backtester.yaml cannot be written: the file is read-only; make it writable, "
        "or set account.spread_bps to 3 by hand",
    )
    assert read_files(folder) == before


@pytest.mark.parametrize(("closed", "mode"), [(OWN, 0o200), (OWN.parent, 0o600)])
def test_a_settings_file_that_may_not_be_read_is_named(
    folder: Path, closed: Path, mode: int
) -> None:
    write_own_file("account:\n  spread_bps: 5\n")
    store_tickers([make_quote(3.0)] * 100)
    old = closed.stat().st_mode
    closed.chmod(mode)
    try:
        done = subprocess.run(
            make_unprivileged_command(
                [sys.executable, "-m", "backtester.main", *SIMULATOR, "--write"]
            ),
            cwd=folder,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
        )
    finally:
        closed.chmod(old)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith(
        "backtester: user/config/backtester.yaml cannot be read: Permission denied; make it "
    )
    assert done.stderr.count("\n") == 1
    assert OWN.read_text() == "account:\n  spread_bps: 5\n"


def test_a_spread_of_one_price_step_at_a_large_price_has_four_digits(
    backtester: Run, folder: Path
) -> None:
    del folder
    mids = np.linspace(60_000.0, 61_000.0, 200)
    store_tickers([(round(mid, 2), round(mid + 0.01, 2)) for mid in mids.tolist()])
    assert backtester(*SIMULATOR, "--write").code == 0
    assert OWN.read_text() == "account:\n  spread_bps: 0.001653\n"
