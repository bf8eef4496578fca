"""Every recorded candle file: imported, its gaps found, and exported back to the letter."""

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from backfiller.main import app
from onetape.cli.program import exit_code_of
from onetape.core.candles import SeriesKey
from onetape.core.timeframes import Timeframe
from onetape.store.database import Store, open_store
from onetape.store.gaps import UNKNOWN_IMPORT, Gap, gaps_of
from recorded_candles import each_file


@dataclass(frozen=True)
class Imported:
    """All files in one database."""

    path: Path
    store: Store
    summaries: dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def imported(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Imported]:
    path = tmp_path_factory.mktemp("files") / "all.db"
    files = sorted((shared / "data" / "candles").glob("*.csv.gz"))
    with pytest.MonkeyPatch.context() as patch:
        printed: list[str] = []
        patch.setattr("onetape.cli.output.print_line", printed.append)
        code = exit_code_of(
            app, "backfiller", ["import", *map(str, files), "--db", str(path), "--json"]
        )
    assert code == 0
    summaries = {Path(one["source"]).name: one for one in json.loads(printed[0])["files"]}
    with open_store(path, create=False) as store:
        yield Imported(path, store, summaries)


def gaps_in(store: Store, known: dict[str, Any]) -> list[Gap]:
    key = SeriesKey(known["exchange"], known["symbol"], known["timeframe"])
    return gaps_of(store, key, start=known["first"], end=known["last"])


@each_file
def test_a_file_is_imported_whole(imported: Imported, known: dict[str, Any]) -> None:
    summary = imported.summaries[Path(known["file"]).name]
    found = {
        name: summary[name]
        for name in ("exchange", "symbol", "timeframe", "start", "inserted", "quarantined",
                     "repeated", "unfinished", "gaps", "missing")
    }  # fmt: skip
    assert found == {
        "exchange": known["exchange"],
        "symbol": known["symbol"],
        "timeframe": known["timeframe"],
        "start": known["first"],
        "inserted": known["rows"],
        "quarantined": 0,
        "repeated": 0,
        "unfinished": 0,
        "gaps": known["gap_count"],
        "missing": known["missing_candles"],
    }


@each_file
def test_the_ledger_has_exactly_the_gaps_of_the_inventory(
    imported: Imported, known: dict[str, Any]
) -> None:
    gaps = gaps_in(imported.store, known)
    assert len(gaps) == known["gap_count"]
    assert sum(gap.candles for gap in gaps) == known["missing_candles"]
    assert {gap.state for gap in gaps} <= {UNKNOWN_IMPORT}
    if known["gaps"] is not None:
        step = Timeframe.parse(known["timeframe"])
        listed = [[gap.start, step.shift(gap.end, -1), gap.candles] for gap in gaps]
        assert listed == known["gaps"]


@each_file
def test_a_file_comes_back_to_the_letter(
    imported: Imported, shared: Path, tmp_path: Path, known: dict[str, Any]
) -> None:
    out = tmp_path / "out.csv"
    code = exit_code_of(
        app,
        "backfiller",
        [
            "export", "--db", str(imported.path), "--exchange", known["exchange"],
            "--symbol", known["symbol"], "--timeframe", known["timeframe"],
            "--from", str(known["first"]), "--to", str(known["last"] + 1), "--out", str(out),
        ],
    )  # fmt: skip
    assert code == 0
    assert out.read_bytes() == gzip.decompress((shared / "data" / known["file"]).read_bytes())
