"""What programs print: one JSON document, and tables that line up."""

import json
from decimal import Decimal
from pathlib import Path

import pytest

from onetape.cli.output import format_table, note, print_bytes, print_json, print_line


def test_a_document_is_json_and_notes_stay_out_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    note("working")
    print_json({"database": Path("a.db"), "fee": Decimal("0.10"), "none": None})
    printed = capsys.readouterr()
    assert json.loads(printed.out) == {"database": "a.db", "fee": "0.10", "none": None}
    assert printed.err == "working\n"


def test_a_table_lines_up_and_leaves_no_blanks_at_the_end() -> None:
    rows = [("", "rsi"), ("return", "5.00%"), ("trades", "12")]
    assert format_table(rows, right=(1,)) == "          rsi\nreturn  5.00%\ntrades     12"
    assert format_table([]) == ""


def test_no_printed_text_has_terminal_control_characters(
    capsysbinary: pytest.CaptureFixture[bytes],
) -> None:
    hostile = "\x1b]0;owned\x07\x9b2J\u202e\udc9b"
    print_line(f"file {hostile}")
    note(f"file {hostile}")
    print_json({"file": hostile})
    print_bytes('"\x9b2J\x7f"\n'.encode())
    print_line(format_table([[hostile, "second\nline"]]))
    printed = capsysbinary.readouterr()
    for text in (printed.out.decode(), printed.err.decode()):
        assert all(each.isprintable() or each == "\n" for each in text)
    assert printed.out.decode().splitlines()[-1].endswith("second\\u000aline")


def test_cells_with_chinese_characters_line_up() -> None:
    assert format_table([["币/USDT", "x"], ["BTC/USDT", "x"]]) == "币/USDT   x\nBTC/USDT  x"
