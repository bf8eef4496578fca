"""Numbers as files write them: detects their notation, and converts them to floats.

Files may have decimal commas, separators of thousands, quotes and signs of currencies.
"""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import numpy as np
from msgspec import Struct

from onetape.core.candles import FloatArray
from onetape.core.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

#: Characters that may surround a number: blanks, quotes, the sign of a currency.
_AROUND: Final = " \t\u00a0\u202f\"'$€£¥₿"
#: Characters between groups of three digits, besides comma and point.
_GROUPS: Final = r"[ \u00a0\u202f\u2019']"
#: A number as Python writes it.
_PLAIN: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
#: A number with separators of thousands, a decimal comma, or both.
_MARKED: Final = re.compile(rf"[+-]?\d[\d.,]*(?:{_GROUPS}\d{{3}})*[\d.,]*")


class NumberStyle(Struct, frozen=True):
    """Notation of the numbers of a table."""

    decimal: str = "."
    """Character before the decimals."""
    thousands: str = ""
    """Character between groups of three digits; empty: none."""
    is_plain: bool = True
    """Whether all numbers that were examined are written as Python writes numbers."""


def is_number(text: str) -> bool:
    """Return whether a cell is a number in any known notation."""
    stripped = text.strip(_AROUND)
    return bool(_PLAIN.fullmatch(stripped) or _MARKED.fullmatch(stripped))


def detect_number_style(cells: Iterable[str], source: str) -> NumberStyle:
    """Return the notation of the numbers among some cells; the default if there are none.

    Args:
        cells: Texts of cells, also such that are no numbers.
        source: The table, for the error.

    Raises:
        DataError: the cells do not show whether `1,234` is 1234 or 1.234.
    """
    marked = [cell for cell in cells if is_number(cell)]
    if all(_PLAIN.fullmatch(cell.strip()) for cell in marked):
        return NumberStyle()
    texts = [re.sub(_GROUPS, "", cell.strip(_AROUND)) for cell in marked]
    commas = [text for text in texts if "," in text]
    if not commas:
        several_points = any(text.count(".") > 1 for text in texts)
        if several_points:
            return NumberStyle(",", ".", is_plain=False)
        return NumberStyle(is_plain=False)
    for text in commas:
        if "." in text:
            decimal = max(",.", key=text.rfind)
            return NumberStyle(decimal, "," if decimal == "." else ".", is_plain=False)
    if any(text.count(",") > 1 for text in commas):
        return NumberStyle(".", ",", is_plain=False)
    if any(not re.fullmatch(r"[+-]?[1-9]\d{0,2},\d{3}", text) for text in commas):
        # A comma that is not before exactly three digits is a decimal comma.
        return NumberStyle(",", "", is_plain=False)
    if any("." in text for text in texts):
        return NumberStyle(".", ",", is_plain=False)
    raise DataError(
        f"{source}: {commas[0]} may be {commas[0].replace(',', '')} or "
        f"{commas[0].replace(',', '.')}; write numbers with a point and without thousands"
    )


def parse_numbers(values: "pd.Series", style: NumberStyle | None = None) -> FloatArray:
    """Return a column as floats, each the nearest to its text; NaN for text that is no number."""
    if values.dtype.kind in "fiu":
        return values.to_numpy(dtype=np.float64, na_value=np.nan)
    if values.dtype.kind == "b":
        return np.full(len(values), np.nan)
    if style is None or style.is_plain:
        return np.array([_parse_plain_number(value) for value in values.tolist()], dtype=np.float64)
    return np.array(
        [_parse_styled_number(value, style) for value in values.tolist()], dtype=np.float64
    )


def _parse_styled_number(value: object, style: NumberStyle) -> float:
    if not isinstance(value, str):
        return _parse_plain_number(value)
    text = re.sub(_GROUPS, "", value.strip(_AROUND))
    if style.thousands and style.thousands in text:
        whole = text.partition(style.decimal)[0].lstrip("+-")
        first, *groups = whole.split(style.thousands)
        if not 1 <= len(first) <= 3 or any(len(group) != 3 for group in groups):
            return np.nan
        text = text.replace(style.thousands, "")
    return _parse_plain_number(text.replace(style.decimal, ".") if style.decimal != "." else text)


def _parse_plain_number(value: object) -> float:
    if isinstance(value, bool):
        return np.nan
    try:
        return float(value) if "_" not in str(value) else np.nan  # pyright: ignore[reportArgumentType] - what float refuses is NaN
    except (TypeError, ValueError, OverflowError):
        return np.nan
