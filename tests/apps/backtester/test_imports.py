"""The import budget: what a program may load for --help, and for a plain backtest."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

#: Slow to import: no program may load one for its help or a plain backtest.
HEAVY = {"pandas", "ccxt", "talib", "numba", "pydantic", "pydantic_settings", "aiohttp", "rich"}
#: All that a plain backtest may load beside the standard library and ourselves.
ALLOWED = {
    *("typer", "annotated_doc", "shellingham", "typing_extensions"),
    *("yaml", "_yaml", "cython_runtime"),
    *("numpy", "apsw", "msgspec"),
}
OURS = {"onetape", "backtester"}
#: What runs at the start of every process, before our code: the interpreter's and coverage's.
STARTERS = {"__main__", "__mp_main__", "sitecustomize", "usercustomize", "coverage", "a1_coverage"}
#: Runs a program's `run` and writes down what it had loaded at its end.
TRACED = """
import atexit, importlib, json, sys
before = sorted(sys.modules)
target, module, *arguments = sys.argv[1:]
def write():
    with open(target, "w") as file:
        json.dump([before, sorted(sys.modules)], file)
atexit.register(write)
sys.argv = [module, *arguments]
importlib.import_module(module).run()
"""


def loaded(folder: Path, module: str, *arguments: str) -> set[str]:
    """Return the top-level modules that a program loads, having ended well."""
    target = folder / "modules.json"
    done = subprocess.run(
        [sys.executable, "-c", TRACED, str(target), module, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    before, after = json.loads(target.read_text())
    return {name.partition(".")[0] for name in {*after} - {*before}}


@pytest.mark.parametrize(
    "module", ["backfiller.main", "backtester.main", "trader.main", "onetape.simulator.main"]
)
def test_help_loads_nothing_heavy(tmp_path: Path, module: str) -> None:
    assert loaded(tmp_path, module, "--help") & HEAVY == set()


@pytest.fixture
def plain(folder: Path, tape: Path) -> set[str]:
    """Return what a plain backtest loads."""
    del tape
    return loaded(folder, "backtester.main", "--exchange", "simulator", "--json", "--no-report")


def test_a_plain_backtest_loads_nothing_heavy_of_ours(plain: set[str]) -> None:
    assert plain & (HEAVY - {"pydantic"}) == set()


def test_a_plain_backtest_loads_only_what_is_on_the_list(plain: set[str]) -> None:
    names = {name for name in plain if not name.startswith("_cython_")}
    assert names - ALLOWED - OURS - STARTERS - set(sys.stdlib_module_names) == set()
