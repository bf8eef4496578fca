"""The page of an optimization: verdict, heat maps, scatter plots, Pareto front, table."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

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
    render_warning_bar,
)
from onetape.report.origin_banner import render_origin_banner

#: Scripts of this page alone, and those of the report that run before them.
_SCRIPTS: Final = (
    *("start.js", "numbers.js", "fields.js", "cloud.js", "heat_maps.js", "pareto.js"),
)
_SHARED_SCRIPTS: Final = ("drawing.js", "sort.js")


class MetricChoice(Struct, frozen=True):
    """A metric that the page can show."""

    name: str
    """Name of the metric in `--json`."""
    label: str
    """Name of the metric, as the page shows it."""
    unit: str
    """Unit of the value, as the definitions of the metrics name it."""
    lower_is_better: bool
    """Whether the combination with the lowest value is best."""


class OptimizationPage(Struct, frozen=True, kw_only=True):
    """Contents of the page; arrays have one row for each combination, best first."""

    title: str
    heading: str
    """Description of the optimization, in one line."""
    verdict: str
    """Verdict on the best combination, in one line."""
    trials: str
    """Number of trials, and of evaluations of the out-of-sample part."""
    parts: Sequence[str]
    """In-sample and out-of-sample range, one line each."""
    findings: Sequence[str]
    """Sentences on how reliable the ranking is, and notes."""
    warning: str = ""
    """Short name of the fault that the bias check of the best combination found; empty: none."""
    warning_text: str = ""
    """Result of the bias check of the best combination."""
    origin: Origin | None = None
    """Origin of the simulator's candles; None for a real exchange."""
    count: str
    """Number of combinations as text."""
    head: Sequence[str]
    """Headings of the table."""
    rows: Sequence[Sequence[str]]
    """Rows of the table as text, best first."""
    hold_row: Sequence[str] | None
    """Row of buy and hold; None where there is no result."""
    rules: Mapping[str, str]
    """Parameter values, market and database: label and text."""
    command: str
    """Command that runs the best combination, or a text where none is ranked."""
    names: Sequence[str]
    """Names of the parameters that vary."""
    metrics: Sequence[MetricChoice]
    """Metrics to choose from, the one that ranks first."""
    money_decimals: int
    """Decimals of amounts of money."""
    ranked: int
    """Number of combinations that are ranked; they come first."""
    few: str
    """Label of combinations with too few trades."""
    goals: Sequence[str]
    """Metrics that the Pareto front can be shown of, two or more."""
    fronts: Mapping[tuple[str, str], Sequence[int]]
    """Pareto front of each two of these metrics, in-sample: indices of the combinations, from 0.
    For two equal metrics: the combinations with the best value."""
    points: Sequence[Sequence[Any]]
    """Values of the varying parameters of each combination."""
    in_sample: Sequence[Sequence[float | None]]
    """Metrics of the in-sample part."""
    out_of_sample: Sequence[Sequence[float | None]]
    """Metrics of the out-of-sample part."""


def write_optimization_page(page: OptimizationPage, path: Path) -> None:
    """Write the page whole, so that a reader never opens half of it.

    Raises:
        ConfigurationError: the file cannot be written.
    """
    partial = path.with_suffix(".part")
    try:
        partial.write_text(render_optimization_page(page), encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {format_os_error(error)}") from error


def render_optimization_page(page: OptimizationPage) -> str:
    """Return the page as HTML."""
    folder = Path(__file__).with_name("optimization_page")
    warning = render_warning_bar(page.warning, page.warning_text)
    banner = render_origin_banner(page.origin, "No combination predicts a result on a real market.")
    values = {
        "market": "<br>".join(escape(line) for line in page.parts),
        "headline": escape(page.heading),
        "banner": warning + banner,
        "verdict": escape(page.verdict),
        "trials": escape(page.trials),
        "findings": "".join(f"<li>{escape(line)}</li>" for line in page.findings),
        "count": escape(page.count),
        "table": _render_result_table(page),
        "rules": render_definitions(page.rules),
        "run": "When it is fixed, run the best" if warning else "Run the best",
        "command": escape(page.command),
    }
    return render_page(
        fill_template(read_asset("optimization.html", folder), values),
        title=page.title,
        style=f"{read_asset('report.css')}\n{read_asset('optimization.css', folder)}",
        data=_encode_page_data(page),
        scripts=[
            *(read_asset(name) for name in _SHARED_SCRIPTS),
            *(read_asset(name, folder) for name in _SCRIPTS),
        ],
    )


def _render_result_table(page: OptimizationPage) -> str:
    cells = "".join(f'<th scope="col">{escape(head)}</th>' for head in page.head)
    rows = [] if page.hold_row is None else [_render_result_row(page.hold_row, "hold")]
    rows += [_render_result_row(texts) for texts in page.rows]
    return f"<thead><tr>{cells}</tr></thead><tbody>{''.join(rows)}</tbody>"


def _render_result_row(texts: Sequence[str], kind: str = "") -> str:
    cells = "".join(f"<td>{escape(text)}</td>" for text in texts)
    return f'<tr class="{kind}">{cells}</tr>' if kind else f"<tr>{cells}</tr>"


def _encode_page_data(page: OptimizationPage) -> str:
    """Return the data of the page's scripts, as JSON."""
    metrics = [metric.name for metric in page.metrics]
    document: dict[str, Any] = {
        "names": page.names,
        "metrics": metrics,
        "labels": {metric.name: metric.label for metric in page.metrics},
        "units": {metric.name: metric.unit for metric in page.metrics},
        "money_decimals": page.money_decimals,
        "lower_is_better": [metric.name for metric in page.metrics if metric.lower_is_better],
        "ranked": page.ranked,
        "few": page.few,
        "goals": page.goals,
        "fronts": {
            " ".join(map(str, sorted(metrics.index(name) for name in pair))): front
            for pair, front in page.fronts.items()
        },
        "points": page.points,
        "in_sample": [[_round_value(value) for value in row] for row in page.in_sample],
        "out_of_sample": [[_round_value(value) for value in row] for row in page.out_of_sample],
    }
    return encode_script_json(document)


def _round_value(value: float | None) -> float | None:
    return value if value is None else float(f"{value:.9g}")
