"""How a benchmark is written down: every sample, and what it takes to repeat it."""

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
    """Return one measurement as it is written down.

    Args:
        name: What was measured.
        unit: Of the samples; `ratio` where they are shares of something else of the same run.
        samples: Every one that was taken.
        goal: What they should keep to.
        wanted: On which side of the goal: `below` or `above`.
        more: `of`, what a ratio is a share of, and the raw samples behind it.
    """
    return {
        "name": name, "unit": unit, "goal": goal, "wanted": wanted, "samples": samples, **more,
    }  # fmt: skip


def refuse_slow_imports() -> None:
    """End where Python would compile every module again at each start."""
    if os.environ.get("PYTHONDONTWRITEBYTECODE"):
        raise SystemExit("unset PYTHONDONTWRITEBYTECODE first: it makes every start slower")


def print_document(
    benchmark: str, command: str, measured_paths: list[str], machine: dict[str, Any],
    measurements: list[dict[str, Any]], **more: Any,
) -> None:  # fmt: skip
    """Print the document of a run: what goes into `results/`; `more` are further parts of it."""
    document = {
        "benchmark": benchmark,
        "command": command,
        "commit": git("rev-parse", "HEAD"),
        "changed": bool(git("status", "--porcelain", *measured_paths, "benchmarks/*.py")),
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine,
        "seed": SEED,
        "measurements": measurements,
        **more,
    }
    print(json.dumps(document, indent=1))  # noqa: T201 - this is what it is for


def machine() -> dict[str, Any]:
    """Return what the machine is, and how busy before the run."""
    return {
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "load_before": os.getloadavg()[0],
    }


def git(*arguments: str) -> str:
    """Return the state of this repository by git."""
    done = subprocess.run(  # noqa: S603 - fixed arguments
        ["git", *arguments],  # noqa: S607 - git of the path
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()
