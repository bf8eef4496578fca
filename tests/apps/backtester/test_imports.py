"""The import budget: what a program may load for --help, and for a plain backtest."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

#: Slow to import: no program may load one for its help or a plain backtest.
HEAVY = {"pandas", "ccxt", "talib", "numba", "pydantic", "pydantic_settings", "aiohttp", "rich"}
#: All that a plain backtest may load in addition to the standard library and ourselves.
ALLOWED = {
    *("typing_extensions", "yaml", "_yaml", "cython_runtime"),
    *("numpy", "apsw", "msgspec"),
}
OURS = {"onetape", "backtester"}
#: What a plain backtest of one symbol that is printed as JSON has no use for.
UNUSED = {
    *("csv", "unicodedata", "yaml"),
    *("typer", "subprocess", "shutil", "gettext", "difflib"),
    *("onetape.engine.step_exports", "onetape.engine.step_events", "onetape.engine.step_restore"),
    *("onetape.engine.step_state", "onetape.engine.stepper"),
    *("onetape.engine.exact_cash", "onetape.engine.independent", "onetape.engine.shared_account"),
    *(
        "onetape.backtest.common_range",
        "onetape.backtest.intrabar_candles",
        "onetape.backtest.metric_definitions",
    ),
    *("onetape.backtest.report_data", "onetape.backtest.trade_frame", "onetape.report"),
    *("onetape.backtest.storage", "onetape.optimization", "onetape.backtest.parallel"),
    *("backtester.commands", "backtester.process_signals", "backtester.watch"),
}
#: Modules of ours that it loads. Each takes 0.2 ms, and the whole run is to take 1.8 times as long
#: as Python and NumPy alone: raise this only for what every run needs.
MOST_OF_OURS = 137
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


def list_loaded_modules(folder: Path, module: str, *arguments: str) -> set[str]:
    """Return the modules that a program loads, having ended well."""
    target = folder / "modules.json"
    done = subprocess.run(
        [sys.executable, "-c", TRACED, str(target), module, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert (done.returncode, done.stderr) == (0, "")
    before, after = json.loads(target.read_text())
    return {*after} - {*before}


def get_top_names(modules: set[str]) -> set[str]:
    """Return the top-level names of modules."""
    return {name.partition(".")[0] for name in modules}


@pytest.mark.parametrize(
    "module", ["backfiller.main", "backtester.main", "trader.main", "onetape.simulator.main"]
)
def test_help_imports_no_heavy_module(tmp_path: Path, module: str) -> None:
    assert get_top_names(list_loaded_modules(tmp_path, module, "--help")) & HEAVY == set()


@pytest.fixture
def plain(folder: Path, database: Path) -> set[str]:
    """Return the modules that a plain backtest imports."""
    del database
    return list_loaded_modules(
        folder, "backtester.entry", "--exchange", "simulator", "--json", "--no-report"
    )


def test_a_plain_backtest_imports_no_heavy_module_of_onetape(plain: set[str]) -> None:
    assert get_top_names(plain) & (HEAVY - {"pydantic"}) == set()


def test_a_plain_backtest_imports_only_the_listed_packages(plain: set[str]) -> None:
    names = {name for name in get_top_names(plain) if not name.startswith("_cython_")}
    assert names - ALLOWED - OURS - STARTERS - set(sys.stdlib_module_names) == set()


def test_a_plain_backtest_imports_no_unused_module(plain: set[str]) -> None:
    assert plain & UNUSED == set()


def test_a_plain_backtest_imports_few_modules_of_onetape(plain: set[str]) -> None:
    own = {name for name in plain if name.partition(".")[0] in OURS}
    assert len(own) <= MOST_OF_OURS, sorted(own)


def test_a_command_is_imported_only_when_it_runs(tmp_path: Path) -> None:
    found = list_loaded_modules(tmp_path, "backtester.main", "list")
    assert {name for name in found if name.startswith("backtester.commands.")} == {
        "backtester.commands.list"
    }
