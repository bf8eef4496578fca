"""The examples of README.md and docs/python.md run as they are written, in an empty folder."""

import json
import re
import subprocess
import sys
from pathlib import Path


def find_code_blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def run_python(code: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_python_examples_of_the_docs_run(repository: Path, tmp_path: Path) -> None:
    blocks = find_code_blocks(repository / "docs/python.md", "python")
    assert len(blocks) == 5
    run_python("\n".join(blocks), tmp_path)


def test_the_function_of_the_readme_gives_the_same_numbers_in_python_and_by_flags(
    repository: Path, tmp_path: Path
) -> None:
    readme = repository / "README.md"
    file, notebook = (one for one in find_code_blocks(readme, "python") if "dip" in one)
    (tmp_path / "dip.py").write_text(file, encoding="utf-8")
    lines = f"{notebook}\nprint(run.stats['final_equity'], ot.load_run('last').summary.strategy)"
    in_python, strategy = run_python(lines, tmp_path).split()
    (commands,) = (one for one in find_code_blocks(readme, "bash") if "dip.py:dip" in one)
    command, _trader = commands.strip().splitlines()
    words = command.removeprefix("uv run ").split()
    assert words[0] == "backtester"
    program = str(Path(sys.executable).with_name("backtester"))
    done = subprocess.run(
        [program, *words[1:], "--json"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    assert (str(found["metrics"]["final_equity"]), found["strategy"]) == (in_python, strategy)
    assert len(found["trades"]) > 9
