"""`trader drill`: the parts of a drill with their results, as text and as JSON."""

from collections.abc import Sequence
from typing import Any

from msgspec import structs

from onetape.core.folders import choose_database_path
from trader.config_digest import compute_config_digest
from trader.drill.runner import PartResult, choose_simulated_symbol
from trader.rendering.blocks import format_block, wrap_text
from trader.settings import TraderSettings

#: Beginning of a line of the trader that is shown below a part that did not pass.
_INDENT = "    trader: "


def format_drill(
    settings: TraderSettings, found: Sequence[PartResult], *, width: int | None, is_recorded: bool
) -> str:
    """Return the result of a drill for a person.

    Args:
        settings: Settings that the drill has tried.
        found: Results of the parts.
        width: Maximum characters of a line; None: no limit.
        is_recorded: Whether the result was stored in the database.
    """
    failed = [one for one in found if not one.is_passed]
    rows: list[tuple[str, str]] = []
    for one in found:
        verdict = "passed" if one.is_passed else "NOT PASSED"
        rows.append((one.name, f"{verdict}: {one.observed} ({one.seconds:.0f} s)"))
    lines = [format_block(_format_title(settings, found), rows, width)]
    for one in failed:
        lines += [f"  {one.name}, the last lines of the trader:"]
        lines += [
            line for text in one.last_lines for line in wrap_text(text, _INDENT, "    ", width)
        ]
    passed = len(found) - len(failed)
    lines.append(
        f"{passed} of {len(found)} parts passed; {_format_record_place(settings, is_recorded)}"
    )
    return "\n".join(lines)


def make_drill_document(
    settings: TraderSettings, found: Sequence[PartResult], *, is_recorded: bool
) -> dict[str, Any]:
    """Return the result of a drill for --json; arguments as of `format_drill`."""
    return {
        "passed": all(one.is_passed for one in found),
        "config_digest": compute_config_digest(settings),
        "database": choose_database_path(settings.db, settings.exchange) if is_recorded else None,
        "market": "invented",
        "parts": [structs.asdict(one) for one in found],
    }


def _format_title(settings: TraderSettings, found: Sequence[PartResult]) -> str:
    names = list(dict.fromkeys(one.symbol for one in found))
    other = {
        name: choose_simulated_symbol(name)
        for name in names
        if choose_simulated_symbol(name) != name
    }
    notes = [f"{name} is not a market of the simulator: {one}" for name, one in other.items()]
    text = f"drill of {', '.join(names)} {settings.timeframe}, orders on the simulator"
    return "; ".join([text, *notes])


def _format_record_place(settings: TraderSettings, is_recorded: bool) -> str:
    if not is_recorded:
        return "not recorded, because --only leaves parts out"
    return f"recorded in {choose_database_path(settings.db, settings.exchange)}"
