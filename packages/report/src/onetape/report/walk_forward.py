"""The page of a walk-forward: verdict, stitched equity, and table of windows and choices."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from msgspec import Struct

from onetape.core.errors import ConfigurationError
from onetape.core.message_text import format_os_error
from onetape.core.simulated import Origin
from onetape.report.frame import (
    encode_script_json,
    fill_template,
    read_asset,
    render_definitions,
    render_page,
)
from onetape.report.origin_banner import render_origin_banner


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
    """Write the page whole, so that a reader never opens half of it.

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
    folder = Path(__file__).with_name("walk_forward_page")
    cells = "".join(f'<th scope="col">{escape(head)}</th>' for head in page.head)
    rows = "".join(
        f"<tr>{''.join(f'<td>{escape(text)}</td>' for text in row)}</tr>" for row in page.rows
    )
    values = {
        "scheme": escape(page.scheme),
        "headline": escape(page.heading),
        "banner": render_origin_banner(
            page.origin, "Nothing here predicts a result on a real market."
        ),
        "trials": escape(page.trials),
        "verdict": escape(page.verdict),
        "rungs": "".join(f"<li>{escape(line)}</li>" for line in page.rungs),
        "findings": "".join(f"<li>{escape(line)}</li>" for line in page.findings),
        "table": f"<thead><tr>{cells}</tr></thead><tbody>{rows}</tbody>",
        "rules": render_definitions(page.rules),
    }
    data = {
        "times": page.times,
        "equity": [float(f"{value:.6g}") for value in page.equity],
        "hold": [float(f"{value:.6g}") for value in page.hold],
        "boundaries": page.boundaries,
    }
    return render_page(
        fill_template(read_asset("walk_forward.html", folder), values),
        title=page.title,
        style=f"{read_asset('report.css')}\n{read_asset('walk_forward.css', folder)}",
        data=encode_script_json(data),
        scripts=[read_asset("drawing.js"), read_asset("equity.js", folder), read_asset("sort.js")],
    )
