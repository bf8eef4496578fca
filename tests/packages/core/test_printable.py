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
def test_terminal_control_characters_are_escaped_and_other_text_is_unchanged(
    text: str, safe: str
) -> None:
    assert escape_unprintable(text) == safe


def test_line_ends_of_a_layout_are_not_escaped() -> None:
    assert escape_unprintable("a\nb\x1b", keep="\n") == "a\nb\\u001b"


@given(st.text(st.characters()))
def test_no_unprintable_character_stays_in_a_text(text: str) -> None:
    assert escape_unprintable(text).isprintable()


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_escaped_json_has_the_same_values(text: str) -> None:
    safe = escape_json(json.dumps(text, ensure_ascii=False).encode())
    assert json.loads(safe) == text
    assert not any(each < " " or "\x7f" <= each < "\xa0" for each in safe.decode())


def test_chinese_characters_take_two_columns() -> None:
    assert [count_columns(text) for text in ("BTC/USDT", "币安人生/USDT", "e\u0301")] == [8, 13, 1]
