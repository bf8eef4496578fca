"""Writer of the tables of benchmarks/README.md, from the raw results next to it.

uv run python benchmarks/tables.py
"""

import json
import statistics
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).resolve().parent
BEGIN: Final = "<!-- tables: written by benchmarks/tables.py -->\n"
END: Final = "<!-- end of tables -->\n"


def make_tables(results: Path) -> str:
    """Return a section for each result file, by name."""
    documents = [json.loads(path.read_text()) for path in sorted(results.glob("*.json"))]
    return "\n".join(_make_section(document) for document in documents)


def replace_tables(text: str, written: str) -> str:
    """Return a page with its tables replaced.

    Raises:
        ValueError: the page has no place for tables.
    """
    if BEGIN not in text or END not in text:
        raise ValueError(f"the page lacks the lines {BEGIN.strip()} and {END.strip()}")
    head, _, rest = text.partition(BEGIN)
    return f"{head}{BEGIN}\n{written}\n{END}{rest.partition(END)[2]}"


def _make_section(document: dict[str, Any]) -> str:
    machine = document["machine"]
    changed = ", with changes" if document["changed"] else ""
    commits = " and ".join(one[:10] for one in document.get("commits", [document["commit"]]))
    head = [
        f"## {document['benchmark']}",
        "",
        f"`{document['command']}`, commit {commits}{changed}, seed "
        f"{document['seed']}, {document['measured'][:10]}; {machine['cpus']} cores, Python "
        f"{machine['python']}, {machine['system']}, load {machine['load_before']:.1f} before.",
        "",
    ]
    if "outcomes" in document:
        return "\n".join([*head, *_make_outcome_table(document)]) + "\n"
    if "combinations" in document:
        return "\n".join([*head, *_make_combination_table(document)]) + "\n"
    lines = [
        *head,
        "| measured | unit | median | worst | samples | goal |",
        "|---|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *(_format_row(one) for one in document["measurements"])]) + "\n"


def _make_outcome_table(document: dict[str, Any]) -> list[str]:
    """Return the table of outcomes after a fault, one row for each fault and program."""
    programs = ", ".join(f"{name} {version}" for name, version in document["programs"].items())
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for one in document["outcomes"]:
        groups.setdefault((one["fault"], one["program"]), []).append(one)
    rows = [
        f"{programs}; watched for {document['watched_seconds']:.0f} s after the first order. "
        "Of several runs the least and the most.",
        "",
        "| fault of the first order | program | runs | doubled | BTC unknown to it "
        "| BTC without a stop at the end | s without a stop | next order after, s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (fault, program), runs in groups.items():
        doubled = sum(one["buys"] > 1 for one in runs)
        after: list[float | None] = [one["next_order_after_seconds"] for one in runs]
        sent: list[float] = [one for one in after if one is not None]
        never = f"none in {len(after) - len(sent)}" if len(sent) < len(after) else ""
        cells = (
            fault,
            program,
            str(len(runs)),
            f"{doubled} of {len(runs)}",
            _format_range([float(one["orphaned_coins"]) for one in runs], 5),
            _format_range([float(one["coins_without_stop"]) for one in runs], 5),
            _format_range([one["unprotected_seconds"] for one in runs], 1),
            ", ".join(text for text in (_format_range(sent, 1), never) if text),
        )
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def _format_range(values: list[float], decimals: int) -> str:
    """Return the least and the greatest of some values, or the value if all are equal."""
    if not values:
        return ""
    texts = [f"{one:.{decimals}f}" for one in (min(values), max(values))]
    return " to ".join(dict.fromkeys(texts))


def _make_combination_table(document: dict[str, Any]) -> list[str]:
    """Return the table of combinations that were compared with the backtest, one row for each."""
    rows = [
        "| traded | size of an entry | exits | hours | seed | fills | equal to the backtest | s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in document["combinations"]:
        cells = (
            one["symbols"],
            one["sizing"],
            one["exits"],
            str(one["hours"]),
            str(one["seed"]),
            str(one["fills"]),
            "yes" if one["equal"] else "no",
            f"{one['seconds']:.0f}",
        )
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def _format_row(measured: dict[str, Any]) -> str:
    samples, below = measured["samples"], measured["wanted"] == "below"
    worst = max(samples) if below else min(samples)
    goal = f"{measured['wanted']} {_format_number(measured['goal'])}"
    if "of" in measured:
        goal += f" of {measured['of']}"
    cells = (
        measured["name"],
        measured["unit"],
        _format_number(statistics.median(samples)),
        _format_number(worst),
        str(len(samples)),
        goal,
    )
    return f"| {' | '.join(cells)} |"


def _format_number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def main() -> None:
    """Write the page."""
    page = FOLDER / "README.md"
    page.write_text(replace_tables(page.read_text(), make_tables(FOLDER / "results")))


if __name__ == "__main__":
    main()
