"""Tables of a setting written as one text, such as `0=0.02,24=0.005`."""

import re
from typing import Final

_ENTRY: Final = r"""\s*(["']?)([\w.-]+)\1\s*[=:]\s*(["']?)([^\s"'{}=:]+)\3\s*"""


def parse_table(text: str) -> dict[str, str] | None:
    """Return the entries of `0=0.02,24=0.005`, or of `{"0": 0.02, "24": 0.005}` as JSON writes it.

    Returns:
        Texts by key; None where the text is no such table, or names a key twice.
    """
    inside = text.strip()
    if inside.startswith("{") and inside.endswith("}"):
        inside = inside[1:-1].strip()
        if not inside:
            return {}
    table: dict[str, str] = {}
    for part in inside.split(","):
        entry = re.fullmatch(_ENTRY, part)
        if entry is None or entry[2] in table:
            return None
        table[entry[2]] = entry[4]
    return table
