"""Files that a strategy imports from its folder are loaded again, and part of the digest."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from onetape.core.candles import Candles
from onetape.core.errors import ConfigurationError
from onetape.strategies import compute_strategy_digest, evaluate_strategy, load_strategy
from onetape.strategies.imported_files import find_import_places, read_imported_files

OWN = '''
from dataclasses import dataclass
from typing import ClassVar

from onetape.strategies import Signals, Strategy


IMPORT


@dataclass(frozen=True)
class Mine(Strategy):
    """Returns what its tools return."""

    name: ClassVar[str] = "mine"
    lookback: ClassVar[int] = 1

    def evaluate(self, candles, higher):
        LATE
        return Signals((candles.close > 0) * SIGNAL, {})
'''


@pytest.fixture
def candles() -> Candles:
    close = np.full(120, 100.0)
    timestamp = np.arange(len(close), dtype=np.int64) * 3_600
    return Candles.from_columns(timestamp, close, close, close, close, close)


def write(
    folder: Path, line: str = "import my_tools", signal: str = "my_tools.SIGNAL", late: str = "pass"
) -> str:
    path = folder / "mine.py"
    text = OWN.replace("IMPORT", line).replace("SIGNAL", signal, 1).replace("LATE", late)
    path.write_text(text)
    return str(path)


def evaluate_last_signal(name: str, candles: Candles) -> int:
    return int(evaluate_strategy(load_strategy(name), candles).signal[-1])


@pytest.mark.parametrize(
    ("line", "signal", "file"),
    [
        ("import my_tools", "my_tools.SIGNAL", "my_tools.py"),
        ("from my_tools import SIGNAL", "SIGNAL", "my_tools.py"),
        ("from my_lib import tools", "tools.SIGNAL", "my_lib/tools.py"),
        ("import my_lib.tools", "my_lib.tools.SIGNAL", "my_lib/tools.py"),
        ("from my_lib import SIGNAL", "SIGNAL", "my_lib/__init__.py"),
    ],
)
def test_a_changed_file_next_to_the_strategy_is_loaded_again_and_in_the_digest(
    tmp_path: Path, candles: Candles, line: str, signal: str, file: str
):
    tools = tmp_path / file
    tools.parent.mkdir(exist_ok=True)
    tools.write_text("SIGNAL = 1\n")
    name = write(tmp_path, line, f"{signal}")
    first = compute_strategy_digest(load_strategy(name))
    assert evaluate_last_signal(name, candles) == 1
    tools.write_text("SIGNAL = 0\n")
    assert evaluate_last_signal(name, candles) == 0
    assert compute_strategy_digest(load_strategy(name)) != first
    tools.write_text("SIGNAL = 1\n")
    assert compute_strategy_digest(load_strategy(name)) == first


def test_a_file_imported_by_an_imported_file_is_in_the_digest(tmp_path: Path, candles: Candles):
    (tmp_path / "my_tools.py").write_text("from my_more import SIGNAL\n")
    (tmp_path / "my_more.py").write_text("SIGNAL = 1\n")
    name = write(tmp_path)
    first = compute_strategy_digest(load_strategy(name))
    (tmp_path / "my_more.py").write_text("SIGNAL = 0\n")
    assert evaluate_last_signal(name, candles) == 0
    assert compute_strategy_digest(load_strategy(name)) != first


def test_a_file_imported_during_a_run_is_in_the_digest_before_the_import(
    tmp_path: Path, candles: Candles
):
    (tmp_path / "my_tools.py").write_text("SIGNAL = 1\n")
    name = write(tmp_path, "", late="import my_tools")
    strategy = load_strategy(name)
    first = compute_strategy_digest(strategy)
    assert evaluate_strategy(strategy, candles).signal[-1] == 1
    assert compute_strategy_digest(strategy) == first
    (tmp_path / "my_tools.py").write_text("SIGNAL = 0\n")
    assert compute_strategy_digest(load_strategy(name)) != first
    assert evaluate_last_signal(name, candles) == 0


def test_a_file_imported_by_a_computed_name_is_in_the_digest_once_it_is_loaded(tmp_path: Path):
    (tmp_path / "my_tools.py").write_text("SIGNAL = 1\n")
    name = write(tmp_path, "import importlib\nmy_tools = importlib.import_module('my_tools')")
    first = compute_strategy_digest(load_strategy(name))
    (tmp_path / "my_tools.py").write_text("SIGNAL = 0\n")
    assert compute_strategy_digest(load_strategy(name)) != first


def test_a_path_that_the_file_adds_to_sys_path_changes_nothing(
    tmp_path: Path, candles: Candles, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "my_tools.py").write_text("SIGNAL = 1\n")
    line = "import sys\nsys.path.insert(0, str(__import__('pathlib').Path(__file__).parent))\n"
    name = write(tmp_path, f"{line}import my_tools")
    first = compute_strategy_digest(load_strategy(name))
    (tmp_path / "my_tools.py").write_text("SIGNAL = 0\n")
    assert evaluate_last_signal(name, candles) == 0
    assert compute_strategy_digest(load_strategy(name)) != first


def test_a_file_that_is_not_imported_is_not_part_of_the_digest(tmp_path: Path):
    (tmp_path / "my_tools.py").write_text("SIGNAL = 1\n")
    name = write(tmp_path)
    first = compute_strategy_digest(load_strategy(name))
    (tmp_path / "other.py").write_text("1 / 0\n")
    assert compute_strategy_digest(load_strategy(name)) == first


def test_the_digest_is_the_same_in_another_folder(tmp_path: Path):
    digests: set[str] = set()
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        (folder / "my_tools.py").write_text("SIGNAL = 1\n")
        digests.add(compute_strategy_digest(load_strategy(write(folder))))
    assert len(digests) == 1


def test_files_of_the_same_name_in_two_folders_are_different_modules(
    tmp_path: Path, candles: Candles
):
    printed: list[int] = []
    for number in (1, 0, 1):
        folder = tmp_path / str(number)
        folder.mkdir(exist_ok=True)
        (folder / "my_tools.py").write_text(f"SIGNAL = {number}\n")
        printed.append(evaluate_last_signal(write(folder), candles))
    assert printed == [1, 0, 1]


def test_standard_and_installed_modules_take_precedence_over_files_next_to_the_strategy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in ("calendar", "yaml"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('ran')\n")
        monkeypatch.delitem(sys.modules, name, raising=False)
    load_strategy(write(tmp_path, "import calendar, yaml", "(yaml.safe_load is not None)"))


def test_packages_installed_below_the_folder_are_not_loaded_again(tmp_path: Path):
    installed = tmp_path / ".venv/lib/site-packages"
    (installed / "my_package").mkdir(parents=True)
    (installed / "my_package/__init__.py").write_text("")
    (installed / "my_package/inner.py").write_text("SIGNAL = 1\n")
    name = write(tmp_path, "from my_package import inner", "inner.SIGNAL")
    code = (
        "import sys; from onetape.strategies import load_strategy; "
        f"load_strategy({name!r}); first = sys.modules['my_package.inner']; "
        f"load_strategy({name!r}); print(first is sys.modules.get('my_package.inner'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "True\n"


@pytest.mark.parametrize(
    ("text", "place"),
    [("\n1 / 0\n", "line 2"), ("x = (\n", "line 1"), ("import nothing_here\n", "line 1")],
)
def test_an_error_in_an_imported_file_names_that_file_and_line(
    tmp_path: Path, text: str, place: str
):
    (tmp_path / "my_tools.py").write_text(text)
    name = write(tmp_path)
    expected = f"{tmp_path}/my_tools.py, {place}, which strategy file {name} imports: "
    with pytest.raises(ConfigurationError) as caught:
        load_strategy(name)
    assert str(caught.value).startswith(expected)


def test_imports_are_found_without_running_anything(tmp_path: Path):
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "__init__.py").write_text("raise SystemExit('ran')\nfrom . import inner")
    (tmp_path / "lib" / "inner.py").write_text("from .. import outer\nfrom .other import *\n")
    (tmp_path / "lib" / "other.py").write_text("import lib\n")
    (tmp_path / "mine.py").write_text("import os, numpy\ndef f():\n    import lib\n")
    found = read_imported_files(tmp_path / "mine.py")
    assert sorted(str(path.relative_to(tmp_path)) for path in found) == [
        "lib/__init__.py", "lib/inner.py", "lib/other.py"
    ]  # fmt: skip


def test_a_missing_file_is_reported_with_its_path(tmp_path: Path):
    (tmp_path / "mine.py").write_text("import my_tools\n")
    assert tmp_path / "my_tools.py" in find_import_places(tmp_path / "mine.py")
    assert read_imported_files(tmp_path / "mine.py") == {}


#: Ways to load code that no import statement names, and where the code is.
DYNAMIC = [
    ("import importlib\n_T = importlib.import_module('my_tools')", "my_tools.py"),
    ("_T = __import__('my_tools')", "my_tools.py"),
    (
        "import sys\nfrom pathlib import Path\n"
        "sys.path.insert(0, str(Path(__file__).parent / 'lib'))\nimport my_tools as _T",
        "lib/my_tools.py",
    ),
]


@pytest.mark.parametrize("when", ["loaded", "evaluated"])
@pytest.mark.parametrize(("load", "file"), DYNAMIC)
def test_code_that_is_loaded_without_import_is_in_the_digest_and_loaded_again(
    tmp_path: Path,
    candles: Candles,
    monkeypatch: pytest.MonkeyPatch,
    load: str,
    file: str,
    when: str,
):
    monkeypatch.setattr(sys, "path", list(sys.path))
    tools = tmp_path / file
    tools.parent.mkdir(exist_ok=True)
    tools.write_text("SIGNAL = 1\n")
    late = load.replace("\n", "; ") if when == "evaluated" else "pass"
    name = write(tmp_path, load if when == "loaded" else "", "_T.SIGNAL", late)
    first = compute_strategy_digest(load_strategy(name))
    assert evaluate_last_signal(name, candles) == 1
    tools.write_text("SIGNAL = 0\n")
    assert compute_strategy_digest(load_strategy(name)) != first
    assert evaluate_last_signal(name, candles) == 0
    assert tools in find_import_places(Path(name))


def test_an_imported_file_that_loads_code_without_import_adds_all_files_to_the_digest(
    tmp_path: Path,
):
    (tmp_path / "my_tools.py").write_text("SIGNAL = __import__('my_more').SIGNAL\n")
    (tmp_path / "my_more.py").write_text("SIGNAL = 1\n")
    first = compute_strategy_digest(load_strategy(write(tmp_path)))
    (tmp_path / "other.py").write_text("1 / 0\n")
    assert compute_strategy_digest(load_strategy(write(tmp_path))) != first


@pytest.mark.parametrize(("files", "size"), [(1_001, 0), (1, 20_000_001)])
def test_too_much_code_below_the_folder_is_refused_in_one_line(
    tmp_path: Path, files: int, size: int
):
    (tmp_path / "lib").mkdir()
    for number in range(files):
        with (tmp_path / "lib" / f"f{number}.py").open("wb") as file:
            file.truncate(size)
    name = write(tmp_path, "import importlib", "1")
    with pytest.raises(ConfigurationError, match="more than 1,000 or over 20 MB; move it to a"):
        load_strategy(name)
    assert len(find_import_places(Path(name))) < 10


def test_circular_links_caches_and_environments_are_skipped(tmp_path: Path):
    for folder in (".hidden", "__pycache__", "env", "lib"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "code.py").write_text("1 / 0\n")
    (tmp_path / "env" / "pyvenv.cfg").write_text("")
    (tmp_path / "lib" / "round").symlink_to(tmp_path)
    found = read_imported_files(Path(write(tmp_path, "import importlib", "1")))
    assert [str(path.relative_to(tmp_path)) for path in found] == ["lib/code.py"]
