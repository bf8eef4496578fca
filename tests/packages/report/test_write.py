"""Writing a report file: completely or not at all."""

from collections.abc import Callable
from pathlib import Path

import pytest

from onetape.core.errors import ConfigurationError
from onetape.report import ReportData, render_report, write_report


def test_the_file_has_the_page_and_its_path_is_returned(
    report: Callable[..., ReportData], tmp_path: Path
) -> None:
    path = write_report(report(), tmp_path / "new" / "report.html")
    assert path.read_text(encoding="utf-8") == render_report(report())


def test_nothing_is_left_next_to_the_report(
    report: Callable[..., ReportData], tmp_path: Path
) -> None:
    for _ in range(2):
        write_report(report(), tmp_path / "report.html")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_a_folder_that_is_a_file_is_refused_in_one_line(
    report: Callable[..., ReportData], tmp_path: Path
) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(ConfigurationError, match=r"^report .*taken/report\.html cannot be written"):
        write_report(report(), tmp_path / "taken" / "report.html")


def test_a_target_that_is_a_folder_is_refused_and_leaves_nothing(
    report: Callable[..., ReportData], tmp_path: Path
) -> None:
    (tmp_path / "report.html").mkdir()
    with pytest.raises(ConfigurationError):
        write_report(report(), tmp_path / "report.html")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_text_that_utf8_cannot_hold_is_replaced(
    report: Callable[..., ReportData], tmp_path: Path
) -> None:
    path = write_report(report(strategy="lone \ud800 half"), tmp_path / "report.html")
    assert "lone ? half" in path.read_text(encoding="utf-8")


def test_a_file_that_is_not_a_report_is_never_replaced(
    report: Callable[..., ReportData], tmp_path: Path
) -> None:
    database = tmp_path / "candles.db"
    database.write_bytes(b"SQLite format 3\x00 and all my trades")
    with pytest.raises(ConfigurationError, match="not an HTML page exists there"):
        write_report(report(), database)
    assert database.read_bytes().endswith(b"all my trades")


def test_a_device_is_never_replaced(report: Callable[..., ReportData]) -> None:
    with pytest.raises(ConfigurationError, match="not an HTML page exists there"):
        write_report(report(), Path("/dev/null"))
    assert Path("/dev/null").is_char_device()
