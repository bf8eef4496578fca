"""Recorded candle files are imported, their gaps found, and exported byte for byte."""

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from backfiller.main import app
from onetape.cli.program import run_typer_app
from onetape.core.candles import SeriesKey
from onetape.core.timeframes import Timeframe
from onetape.store.database import Store, open_store
from onetape.store.gaps import UNKNOWN_IMPORT, read_gaps
from onetape.store.verify import Finding, verify
from recorded_candles import each_file, read_inventory, select_tested_files


@dataclass(frozen=True)
class ImportedFiles:
    """All files in one database."""

    path: Path
    store: Store
    summaries: dict[str, dict[str, Any]]
    findings: list[Finding]
    """What `verify` found in all of it."""


@pytest.fixture(scope="module")
def imported(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImportedFiles]:
    path = tmp_path_factory.mktemp("files") / "all.db"
    files = sorted(shared / "data" / one["file"] for one in select_tested_files(read_inventory()))
    with pytest.MonkeyPatch.context() as patch:
        printed: list[str] = []
        patch.setattr("onetape.cli.output.print_line", printed.append)
        code = run_typer_app(
            app, "backfiller", ["import", *map(str, files), "--db", str(path), "--json"]
        )
    assert code == 0
    summaries = {Path(one["source"]).name: one for one in json.loads(printed[0])["files"]}
    with open_store(path, create=False) as store:
        yield ImportedFiles(path, store, summaries, verify(store))


@each_file
def test_every_candle_of_a_file_is_imported(imported: ImportedFiles, known: dict[str, Any]) -> None:
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
def test_verify_finds_exactly_the_gaps_of_the_inventory(
    imported: ImportedFiles, known: dict[str, Any]
) -> None:
    key = SeriesKey(known["exchange"], known["symbol"], known["timeframe"])
    # Two files of one series leave a gap between them, which is in neither.
    found = [
        finding
        for finding in imported.findings
        if finding.key == key
        and known["first"] <= finding.start <= known["last"]
        and finding.end <= known["last"]
    ]
    assert {finding.kind for finding in found} <= {"gap"}
    assert len(found) == known["gap_count"]
    assert sum(finding.candles for finding in found) == known["missing_candles"]
    if known["gaps"] is not None:
        step = Timeframe.parse(known["timeframe"])
        listed = [[one.start, step.shift(one.end, -1), one.candles] for one in found]
        assert listed == known["gaps"]


def test_verify_finds_nothing_but_the_gaps_between_files(imported: ImportedFiles) -> None:
    inside = sum(one["gaps"] for one in imported.summaries.values())
    series = {(one["symbol"], one["timeframe"]) for one in imported.summaries.values()}
    between = len(imported.summaries) - len(series)
    assert [finding.kind for finding in imported.findings] == ["gap"] * (inside + between)


def test_gaps_inside_files_have_the_state_unknown(imported: ImportedFiles) -> None:
    for one in imported.summaries.values():
        key = SeriesKey(one["exchange"], one["symbol"], one["timeframe"])
        gaps = read_gaps(imported.store, key, start=one["start"], end=one["end"])
        assert {gap.state for gap in gaps} <= {UNKNOWN_IMPORT}


@each_file
def test_an_exported_file_equals_the_imported_file_byte_for_byte(
    imported: ImportedFiles, shared: Path, tmp_path: Path, known: dict[str, Any]
) -> None:
    out = tmp_path / "out.csv"
    code = run_typer_app(
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
