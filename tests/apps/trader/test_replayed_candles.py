"""Replayed candles are called recorded, not invented, in every program."""

import json
import re
from collections.abc import Generator
from pathlib import Path

import pytest

from onetape.cli.program import run_typer_app
from onetape.core.candles import SeriesKey
from onetape.store.database import open_store
from onetape.store.simulated_source import read_origin
from programs import Program

MARCH = 1_709_251_200
HOURS = 700


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a file of recorded hours."""
    folder = tmp_path_factory.mktemp("recorded")
    rows = [
        f"{MARCH + hour * 3_600},{100 + hour % 7},110,90,{101 + hour % 7},5"
        for hour in range(HOURS)
    ]
    text = "\n".join(["timestamp,open,high,low,close,volume", *rows, ""])
    (folder / "x_BTC-USDT_1h_1.csv").write_text(text)
    return folder


@pytest.fixture(scope="module")
def replaying(folder: Path) -> Generator[str]:
    """Return the address of a simulator that replays the file."""
    arguments = ("--port", "0", "--data", "x_BTC-USDT_1h_1.csv")
    with Program("simulator", *arguments, folder=folder) as program:
        greeting = program.until("simulator:")
        assert "invented" not in greeting
        yield re.findall(r"http://[\d.:]+\d", greeting)[0]


def make_common_flags(url: str, db: Path, timeframe: str) -> list[str]:
    return [
        "--exchange", "simulator", "--simulator-url", url, "--db", str(db), "-t", timeframe,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("timeframe", "words"),
    [
        ("1h", "market replayed from recorded candles by the simulator at"),
        ("15m", "market INVENTED by the simulator at"),
    ],
)
def test_the_trader_prints_whether_its_market_is_replayed_or_invented(
    replaying: str, tmp_path: Path, timeframe: str, words: str
) -> None:
    flags = make_common_flags(replaying, tmp_path / "replay.db", timeframe)
    with Program("trader", *flags, folder=tmp_path) as program:
        assert words in program.until("paper trading")
    if timeframe == "1h":
        assert not [line for line in program.lines if "INVENTED" in line]


def test_backfiller_and_backtester_take_replayed_candles_for_recorded_ones(
    replaying: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from backfiller.main import app as backfiller
    from backtester.main import app as backtester

    db = tmp_path / "replay.db"
    flags = make_common_flags(replaying, db, "1h")
    assert run_typer_app(backfiller, "backfiller", [*flags, "--from", "2024-03-01"]) == 0
    with open_store(db, create=False) as store:
        assert read_origin(store, SeriesKey("simulator", "BTC/USDT", "1h")) == "recorded"
    capsys.readouterr()
    page = tmp_path / "page.html"
    run = ["--exchange", "simulator", "--db", str(db), "--json", "--report", str(page)]
    assert run_typer_app(backtester, "backtester", run) == 0
    document = json.loads(capsys.readouterr().out)
    assert "this market is replayed from recorded candles by the simulator" in document["notes"]
    text = page.read_text()
    assert "<strong>Recorded candles.</strong>" in text
    assert "Invented market" not in text


def test_an_invented_market_and_replayed_candles_do_not_share_a_file(
    replaying: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from backfiller.main import app as backfiller

    db = tmp_path / "both.db"
    assert run_typer_app(backfiller, "backfiller", make_common_flags(replaying, db, "1h")) == 0
    with Program("simulator", "--port", "0", folder=tmp_path) as program:
        url = re.findall(r"http://[\d.:]+\d", program.until("simulator:"))[0]
        capsys.readouterr()
        assert run_typer_app(backfiller, "backfiller", make_common_flags(url, db, "1h")) == 4
    (line,) = capsys.readouterr().err.splitlines()
    assert "holds recorded candles that the simulator replayed" in line
    assert "choose another file with --db" in line
