"""docs/exchanges.md is generated, and what it calls tested has tests."""

from pathlib import Path

import pytest

import exchanges_reference
from exchanges_reference import EVIDENCE, PAGE, main, make_page
from onetape.exchange.dialects import DIALECTS


def test_the_page_equals_the_generated_one(repository: Path) -> None:
    assert (repository / PAGE).read_text(encoding="utf-8") == make_page()


def test_every_exchange_called_tested_names_a_file_of_tests(repository: Path) -> None:
    for (name, _), shown in EVIDENCE.items():
        assert "def test_" in (repository / shown.test).read_text(encoding="utf-8"), name


def test_the_dialects_and_the_page_agree_on_what_was_tried() -> None:
    for name, dialect in DIALECTS.items():
        shown = EVIDENCE.get((name, "live"))
        assert dialect.evidence == ("untested" if shown is None else shown.evidence)


def test_a_changed_page_is_reported_and_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "docs").mkdir()
    monkeypatch.setattr(exchanges_reference, "ROOT", tmp_path)
    assert main(["--check"]) == 6
    assert "docs/exchanges.md differs" in capsys.readouterr().out
    assert main([]) == 0
    assert main(["--check"]) == 0
