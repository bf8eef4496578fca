"""What programs print: one JSON document, and tables that line up."""

import json
from decimal import Decimal
from pathlib import Path

import pytest

from onetape.cli.output import note, print_json, table


def test_a_document_is_json_and_notes_stay_out_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    note("working")
    print_json({"database": Path("a.db"), "fee": Decimal("0.10"), "none": None})
    printed = capsys.readouterr()
    assert json.loads(printed.out) == {"database": "a.db", "fee": "0.10", "none": None}
    assert printed.err == "working\n"


def test_a_table_lines_up_and_leaves_no_blanks_at_the_end() -> None:
    rows = [("", "rsi"), ("return", "5.00%"), ("trades", "12")]
    assert table(rows, right=(1,)) == "          rsi\nreturn  5.00%\ntrades     12"
    assert table([]) == ""
