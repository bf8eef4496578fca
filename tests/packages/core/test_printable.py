"""Text from outside cannot control the terminal that it is printed in."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onetape.core.printable import count_columns, escape_json, escape_unprintable


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("\x1b[2Jx.csv", "\\u001b[2Jx.csv"),
        ("\x9b31m", "\\u009b31m"),
        ("a\nb\rc\td\x7f", "a\\u000ab\\u000dc\\u0009d\\u007f"),
        ("csv.\u202ezip", "csv.\\u202ezip"),
        ("a\u2028b\u200bc\ufeff", "a\\u2028b\\u200bc\\ufeff"),
        ("\udc80", "\\udc80"),
        ("\U000e0041", "\\U000e0041"),
        ("币安人生/USDT 1INCH é", "币安人生/USDT 1INCH é"),
    ],
)
def test_what_a_terminal_obeys_is_escaped_and_other_text_stays(text: str, safe: str) -> None:
    assert escape_unprintable(text) == safe


def test_line_ends_stay_where_they_are_layout() -> None:
    assert escape_unprintable("a\nb\x1b", keep="\n") == "a\nb\\u001b"


@given(st.text(st.characters()))
def test_no_text_keeps_a_character_that_is_not_printable(text: str) -> None:
    assert escape_unprintable(text).isprintable()


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_json_keeps_its_meaning_without_controls(text: str) -> None:
    safe = escape_json(json.dumps(text, ensure_ascii=False).encode())
    assert json.loads(safe) == text
    assert not any(each < " " or "\x7f" <= each < "\xa0" for each in safe.decode())


def test_chinese_characters_take_two_columns() -> None:
    assert [count_columns(text) for text in ("BTC/USDT", "币安人生/USDT", "e\u0301")] == [8, 13, 1]
