"""The record of a benchmark: every sample, and the data needed to repeat the run."""

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
SEED: Final = 7


def measure(
    name: str, unit: str, samples: list[float], *, goal: float, wanted: str, **more: Any
) -> dict[str, Any]:
    """Return one measurement as a document.

    Args:
        name: Name of the measurement.
        unit: Unit of the samples; `ratio` where they are shares of another value of the same run.
        samples: All samples.
        goal: Limit of the samples.
        wanted: Side of the goal: `below` or `above`.
        more: `of`, the base of a ratio, and the raw samples of the ratio.
    """
    return {
        "name": name, "unit": unit, "goal": goal, "wanted": wanted, "samples": samples, **more,
    }  # fmt: skip


def refuse_slow_imports() -> None:
    """Exit if Python would compile every module again at each start."""
    if os.environ.get("PYTHONDONTWRITEBYTECODE"):
        raise SystemExit("unset PYTHONDONTWRITEBYTECODE first: it makes every start slower")


def print_document(
    benchmark: str, command: str, measured_paths: list[str], machine: dict[str, Any],
    measurements: list[dict[str, Any]], **more: Any,
) -> None:  # fmt: skip
    """Print the document of a run for `results/`; `more` are further parts of the document."""
    document = {
        "benchmark": benchmark,
        "command": command,
        "commit": run_git("rev-parse", "HEAD"),
        "changed": bool(run_git("status", "--porcelain", *measured_paths, "benchmarks/*.py")),
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine,
        "seed": SEED,
        "measurements": measurements,
        **more,
    }
    print(json.dumps(document, indent=1))  # noqa: T201 - this is what it is for


def describe_machine() -> dict[str, Any]:
    """Return the description of the machine, and its load before the run."""
    return {
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "load_before": os.getloadavg()[0],
    }


def run_git(*arguments: str) -> str:
    """Return the state of this repository by git."""
    done = subprocess.run(  # noqa: S603 - fixed arguments
        ["git", *arguments],  # noqa: S607 - git of the path
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()
