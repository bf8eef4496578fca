"""A table of settings that is written in one text, as flags and variables have it."""

import re

_ENTRY = re.compile(r"""\s*(["']?)([\w.-]+)\1\s*[=:]\s*(["']?)([^\s"'{}=:]+)\3\s*""")


def table_of(text: str) -> dict[str, str] | str:
    """Return the entries of `0=0.02,24=0.005`, or of `{"0": 0.02, "24": 0.005}` as JSON writes it.

    Returns:
        Texts by key; the text itself where it is no such table, or names a key twice.
    """
    inside = text.strip()
    if inside.startswith("{") and inside.endswith("}"):
        inside = inside[1:-1].strip()
        if not inside:
            return {}
    table: dict[str, str] = {}
    for part in inside.split(","):
        entry = _ENTRY.fullmatch(part)
        if entry is None or entry[2] in table:
            return text
        table[entry[2]] = entry[4]
    return table
