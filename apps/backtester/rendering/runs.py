"""Output of saved runs: a list, a single run, and several runs side by side."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from backtester.rendering.result import format_result
from onetape.backtest.metric_definitions import LABELS, make_metric_lines
from onetape.backtest.storage.runs import SavedRun
from onetape.backtest.warning_banner import format_fault_mark
from onetape.cli.output import format_table
from onetape.core.clock import format_day

LIST_HEAD: Final = (
    "id",
    "made (UTC)",
    "strategy",
    "series",
    "range",
    LABELS["total_return"],
    LABELS["max_drawdown"],
    LABELS["trades"],
)
#: Number of digits of a digest that are shown.
_SHOWN_DIGITS: Final = 12
#: Fields of bias checks that are compared; the number of checked bars depends on the speed.
_COMPARED_CHECK_FIELDS: Final = ("clean", "differing", "first_bad_bar", "kind")


def format_run_list(runs: Sequence[SavedRun], *, width: int | None = None) -> str:
    """Return a line for each run, or two lines if one does not fit.

    Args:
        runs: Saved runs, at least one.
        width: Characters a line may have; None: any.
    """
    rows = [LIST_HEAD, *(_format_run_row(run) for run in runs)]
    marks = ["check", *(format_fault_mark(run.summary.check) for run in runs)]
    if not any(marks[1:]):
        marks = [""] * len(rows)
    whole = format_table(
        [(*row, one) for row, one in zip(rows, marks, strict=True)], right=(5, 6, 7)
    )
    if width is None or max(map(len, whole.splitlines())) <= width:
        return whole
    # Series and range move to a second line; a name that is still too long is cut.
    first = [(*row[:3], *row[5:]) for row in rows]
    too_much = max(map(len, format_table(first).splitlines())) - width
    longest = max(len(row[2]) for row in rows) - max(too_much, 0)
    first = [(*row[:2], _shorten_name(row[2], longest), *row[3:]) for row in first]
    second = [(one or " " * len(row[0]), *row[3:5]) for row, one in zip(rows, marks, strict=True)]
    pairs = zip(
        *(format_table(one, right=(3, 4, 5)).splitlines() for one in (first, second)), strict=True
    )
    return "\n".join(line for pair in pairs for line in pair)


def _shorten_name(name: str, longest: int) -> str:
    return name if len(name) <= longest else f"{name[: max(longest - 1, 8)]}…"


def _format_run_row(run: SavedRun) -> tuple[str, ...]:
    """Return the cells of a run in the list of runs, by column of LIST_HEAD."""
    summary, metrics = run.summary, run.summary.metrics
    first, *others = summary.all_symbols
    symbols = f"{first} + {len(others)} more" if others else first
    return (
        run.id,
        run.manifest.made[:16].replace("T", " "),
        summary.strategy,
        f"{summary.exchange} {symbols} {summary.timeframe}",
        f"{format_day(summary.from_)} to {format_day(summary.to)}",
        f"{metrics.total_return:+.2%}",
        f"{metrics.max_drawdown:.2%}",
        f"{metrics.trades:,}{' + open' if metrics.open_at_end else ''}",
    )


def format_saved_run(run: SavedRun, *, width: int | None = None) -> str:
    """Return the printed result of a saved run, followed by its settings and versions.

    Args:
        run: The run.
        width: Characters a line of the tables may have; None: any.
    """
    manifest = run.manifest
    made_with = ", ".join(f"{name} {version}" for name, version in manifest.versions.items())
    digests = ", ".join(
        f"{name} {digest[:_SHOWN_DIGITS]}" for name, digest in manifest.digests.items()
    )
    return "\n".join(
        [
            format_result(run.summary, run.read_trade_records(), width=width),
            f"made: {manifest.made} with {made_with}",
            f"digests: {digests}",
        ]
    )


def format_comparison(runs: Sequence[SavedRun]) -> str:
    """Return the metrics of runs side by side, then their differences."""
    metrics, differences = make_metric_rows(runs), make_difference_rows(runs)
    marks = [format_fault_mark(run.summary.check) for run in runs]
    if any(marks):
        metrics.insert(1, ("check", *marks))
    table = format_table(metrics, right=range(1, len(metrics[0])))
    return f"{table}\n\n{format_table(differences) if differences else 'nothing differs'}"


def make_metric_rows(runs: Sequence[SavedRun]) -> list[tuple[str, ...]]:
    """Return the metrics of runs side by side, a row each; the first row has the ids."""
    columns = [make_metric_lines(run.summary.metrics, run.summary.quote) for run in runs]
    # Labels are those of the first run; a different quote currency is among the differences.
    rows = [("", *(run.id for run in runs))]
    for lines in zip(*columns, strict=True):
        values = [line[1] for line in lines]
        if any(values):
            rows.append((lines[0][0], *values))
    rows.insert(2, ("buy and hold", *(lines[0][2] for lines in columns)))
    return rows


def make_difference_rows(runs: Sequence[SavedRun]) -> list[tuple[str, ...]]:
    """Return what differs between runs, a row each; the first row has the ids; none: empty."""
    found = find_run_differences(runs)
    if not found:
        return []
    rows = [("differs in", *(run.id for run in runs))]
    for name, values in found.items():
        rows.append((name, *(_format_fact_value(name, value) for value in values)))
    return rows


def find_run_differences(runs: Sequence[SavedRun]) -> dict[str, list[Any]]:
    """Return the differences of runs: config, market, range, data, code, versions.

    Returns:
        A value for each run, by dotted name; None where a run has none.
    """
    flat = [_collect_facts(run) for run in runs]
    names = list(dict.fromkeys(name for facts in flat for name in facts))
    values = {name: [facts.get(name) for facts in flat] for name in names}
    return {name: row for name, row in values.items() if any(one != row[0] for one in row)}


def _collect_facts(run: SavedRun) -> dict[str, Any]:
    manifest, summary = run.manifest, run.summary
    parts = {
        "settings": manifest.settings,
        "parameters": summary.parameters,
        "range": {"from": format_day(summary.from_), "to": format_day(summary.to)},
        "trading rules": summary.assumptions.get("trading rules"),
        # Without the check's text, whose parameters and bars are compared separately.
        "check": {name: getattr(summary.check, name) for name in _COMPARED_CHECK_FIELDS},
        "digest": manifest.digests,
        "version": manifest.versions,
    }
    # The path of the report is no difference; `parameters` above has the defaults too.
    left_out = ("settings.report", "settings.strategy.parameters.")
    return {
        name: fact
        for name, fact in _flatten_tree(parts, "").items()
        if not name.startswith(left_out)
    }


def _flatten_tree(tree: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            flat |= _flatten_tree(cast("dict[str, Any]", value), f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def _format_fact_value(name: str, value: Any) -> str:
    if value is None:
        return "-"
    return str(value)[:_SHOWN_DIGITS] if name.startswith("digest.") else str(value)
