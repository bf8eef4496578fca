"""The page of a walk-forward: stitched equity, windows and choices. Loads nothing."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from msgspec import Struct

from onetape.core.errors import ConfigurationError
from onetape.core.message_text import format_os_error
from onetape.core.simulated import Origin
from onetape.report.frame import asset, definitions, filled, framed, script_json
from onetape.report.origin_banner import origin_banner


class WalkForwardPage(Struct, frozen=True, kw_only=True):
    """Contents of the page of a walk-forward."""

    title: str
    heading: str
    """Description of the walk-forward in one line."""
    scheme: str
    """Lengths of the windows and the rule of a choice."""
    trials: str
    """Number of trials, and of evaluations of test parts."""
    verdict: str
    """Verdict in one line."""
    rungs: Sequence[str]
    """A line for each rung of the verdict."""
    findings: Sequence[str]
    """Metrics of the stitched equity and notes, one sentence each."""
    origin: Origin | None = None
    """Origin of the simulator's candles; None for a real exchange."""
    head: Sequence[str]
    """Headings of the table of windows."""
    rows: Sequence[Sequence[str]]
    """Rows of the table of windows, in the order of time."""
    rules: Mapping[str, str]
    """Values that were tried, market and database: label and text."""
    times: Sequence[int]
    """Days of the stitched equity, epoch seconds."""
    equity: Sequence[float]
    """Stitched equity divided by the start balance; 1 at the start."""
    hold: Sequence[float]
    """Equity of buy and hold with the same exposure; 1 at the start."""
    boundaries: Sequence[int]
    """Start of each test part, epoch seconds."""


def write_walk_forward_page(page: WalkForwardPage, path: Path) -> None:
    """Write the page; a reader never meets half of one.

    Raises:
        ConfigurationError: the file cannot be written.
    """
    partial = path.with_suffix(".part")
    try:
        partial.write_text(render_walk_forward_page(page), encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {format_os_error(error)}") from error


def render_walk_forward_page(page: WalkForwardPage) -> str:
    """Return the page as HTML."""
    own = Path(__file__).with_name("walk_forward_page")
    shared = Path(__file__).with_name("optimization_page")
    cells = "".join(f'<th scope="col">{escape(head)}</th>' for head in page.head)
    rows = "".join(
        f"<tr>{''.join(f'<td>{escape(text)}</td>' for text in row)}</tr>" for row in page.rows
    )
    values = {
        "scheme": escape(page.scheme),
        "headline": escape(page.heading),
        "banner": origin_banner(page.origin, "Nothing here predicts a result on a real market."),
        "trials": escape(page.trials),
        "verdict": escape(page.verdict),
        "rungs": "".join(f"<li>{escape(line)}</li>" for line in page.rungs),
        "findings": "".join(f"<li>{escape(line)}</li>" for line in page.findings),
        "table": f"<thead><tr>{cells}</tr></thead><tbody>{rows}</tbody>",
        "rules": definitions(page.rules),
    }
    data = {
        "times": page.times,
        "equity": [float(f"{value:.6g}") for value in page.equity],
        "hold": [float(f"{value:.6g}") for value in page.hold],
        "boundaries": page.boundaries,
    }
    return framed(
        filled(asset("walk_forward.html", own), values),
        title=page.title,
        style=f"{asset('report.css')}\n{asset('walk_forward.css', own)}",
        data=script_json(data),
        scripts=[asset("equity.js", own), asset("sort.js", shared)],
    )
