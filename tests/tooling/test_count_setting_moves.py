"""A setting passes from its flag to the fills through few files."""

import subprocess
import sys
from pathlib import Path


def test_a_stop_loss_moves_between_files_at_most_forty_times(repository: Path) -> None:
    tool = repository / "tools" / "count_setting_moves.py"
    done = subprocess.run([sys.executable, tool], capture_output=True, text=True, check=True)
    count, words, *_ = done.stdout.split(maxsplit=1)
    assert words.startswith("moves between files, from packages/cli/")
    assert int(count) <= 40
