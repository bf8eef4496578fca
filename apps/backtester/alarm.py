"""What the check of a run found, said where nobody overlooks it; nothing of a clean run."""

from collections.abc import Mapping
from typing import Any


def mark(check: Mapping[str, Any] | None) -> str:
    """Return what was found as a mark such as `! look-ahead`; empty where there is nothing.

    Args:
        check: `Look` by its fields, as in `--json`; None: there was nothing to check.
    """
    return f"! {check['kind']}" if check and check["clean"] is False else ""


def warning(check: Mapping[str, Any] | None) -> str:
    """Return what was found and what it means, such as `look-ahead: do not trust this result`."""
    if not check or not mark(check):
        return ""
    from onetape.strategies.sample import meaning

    return f"{check['kind']}: {meaning(check['kind'])}"


def warning_lines(check: Mapping[str, Any] | None) -> list[str]:
    """Return the line that comes under the head of a result in a terminal, or none."""
    said = warning(check)
    return [f"! {said} (below: check)"] if said else []
