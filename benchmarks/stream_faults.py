"""Conversion of the output of campaigns of stream faults and of fuzzed frames into a document.

    ONETAPE_STREAM_FAULTS=334 ONETAPE_STREAM_SEED=21 uv run pytest -rP -n 0 \
        tests/apps/trader/test_stream_faults.py > data/faults-21.log
    uv run python benchmarks/stream_faults.py data/*.log > benchmarks/results/stream_faults.json

A log may hold both campaigns (`make streams`). One sample is one campaign: its largest value.
"""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from recording import describe_machine, measure, print_document

_FAULTS: Final = re.compile(
    r"^(\d+) stream faults, seed (\d+): (\d+) candles missing or wrong; noticed after ([\d.]+) s "
    r"at most .*; back ([\d.]+) s",
    re.MULTILINE,
)
_FRAMES: Final = re.compile(
    r"^(\d+) fuzzed frames, seed (\d+): no crash, ([\d.]+) ms", re.MULTILINE
)
#: Packages and tests that a campaign's result depends on.
PATHS: Final = ["apps/trader", "packages", "tests/apps/trader", "tests/support"]


def main() -> None:
    """Read the logs that the command line names, and print the document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("logs", type=Path, nargs="+", metavar="LOG")
    logs: list[Path] = parser.parse_args().logs
    texts = [log.read_text(encoding="utf-8") for log in logs]
    command = "uv run python benchmarks/stream_faults.py LOG..."
    print_document("stream_faults", command, PATHS, describe_machine(), read_measurements(texts))


def read_measurements(texts: Sequence[str]) -> list[dict[str, Any]]:
    """Return the measurements of the campaigns whose results some texts hold.

    Raises:
        SystemExit: a text holds no result of a campaign.
    """
    faults = [found for text in texts for found in _FAULTS.findall(text)]
    frames = [found for text in texts for found in _FRAMES.findall(text)]
    empty = [text for text in texts if not (_FAULTS.search(text) or _FRAMES.search(text))]
    if empty:
        raise SystemExit("a log holds no result of a campaign; run pytest with -rP")
    found: list[dict[str, Any]] = []
    if faults:
        name = f"{sum(int(one[0]) for one in faults):,} mixed stream faults"
        seeds = [int(one[1]) for one in faults]
        found += [
            measure(
                f"{name}: candles missing or wrong", "candles", [float(one[2]) for one in faults],
                goal=1, wanted="below", seeds=seeds,
            ),
            measure(
                f"{name}: noticed, where frames are missed after 1 s", "s",
                [float(one[3]) for one in faults], goal=60, wanted="below", seeds=seeds,
            ),
            measure(
                f"{name}: stored again after the fault", "s", [float(one[4]) for one in faults],
                goal=5, wanted="below", seeds=seeds,
            ),
        ]  # fmt: skip
    if frames:
        name = f"{sum(int(one[0]) for one in frames):,} fuzzed frames: longest for one frame"
        found.append(
            measure(
                name, "s", [float(one[2]) / 1_000 for one in frames], goal=1, wanted="below",
                seeds=[int(one[1]) for one in frames],
            )
        )  # fmt: skip
    return found


if __name__ == "__main__":
    main()
