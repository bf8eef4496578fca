"""Check of the guards of the trader: without a guard, its test must fail (`make guards`).

    uv run python tools/guards.py                  # all of them, half an hour or more
    uv run python tools/guards.py --only 77        # those of a row of docs/failure-modes.md
    uv run python tools/guards.py --jobs 3         # three tests at once
    uv run python tools/guards.py --write          # writes the table of docs/failure-modes.md
    uv run python tools/guards.py --check          # ends with 6 where that table differs

A guard is a few lines of code against one failure (tools/guards.toml). They are removed one at a
time, each in a copy of the checkout; `--jobs` of them at once.
"""

import argparse
import ast
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = Path("docs", "failure-modes.md")
LIST: Final = Path("tools", "guards.toml")
#: Time that a failing test may wait for an event that does not come, seconds.
TEST_SECONDS: Final = 600
_BEGIN: Final = "<!-- Written by tools/guards.py; a test compares it. -->"
_END: Final = "<!-- End of what tools/guards.py writes. -->"


class Guard(NamedTuple):
    """One guard of the code, and the test that fails without it."""

    row: int
    """Row of docs/failure-modes.md."""
    does: str
    """Effect of the guard, as text."""
    file: str
    """Path of the guard's source file in the checkout."""
    on: str
    """Text of the guard; it occurs once in the file."""
    off: str
    """Text of the same lines without the guard."""
    test: str
    """Path of the test's file in the checkout."""
    name: str
    """Name of the test function."""


def read_guards(root: Path = ROOT) -> list[Guard]:
    """Return the guards of tools/guards.toml, in the order of the file."""
    document = tomllib.loads((root / LIST).read_text(encoding="utf-8"))
    return [Guard(**entry) for entry in document["guard"]]


def find_fault(guard: Guard, root: Path = ROOT) -> str | None:
    """Return the fault of an entry of tools/guards.toml as text; None: the entry is valid."""
    text = (root / guard.file).read_text(encoding="utf-8")
    count = text.count(guard.on)
    if count != 1:
        return f"{guard.file} has the text {guard.on!r} {count} times, not once"
    if guard.file.endswith(".py"):
        try:
            ast.parse(text.replace(guard.on, guard.off))
        except SyntaxError as error:
            return f"{guard.file} without {guard.on!r}: {error.msg}, line {error.lineno}"
    if f"def {guard.name}(" not in (root / guard.test).read_text(encoding="utf-8"):
        return f"{guard.test} has no {guard.name}"
    return None


def format_table(guards: Iterable[Guard]) -> str:
    """Return the table of docs/failure-modes.md, its markers included."""
    lines = ["| guard | row | in | test that fails without it |", "|---|---|---|---|"]
    lines += [
        f"| {one.does} | {one.row} | `{Path(one.file).name}` | `{one.name}` |" for one in guards
    ]
    return "\n".join((_BEGIN, "", *lines, "", _END))


def replace_table(text: str, guards: Iterable[Guard]) -> str:
    """Return the text of docs/failure-modes.md with a new table."""
    before, _, rest = text.partition(_BEGIN)
    after = rest.partition(_END)[2]
    return f"{before}{format_table(guards)}{after}"


def copy_checkout(target: Path) -> None:
    """Copy the files that git tracks or would track."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        source = ROOT / name
        if source.is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name)


def does_fail_without(guard: Guard, root: Path) -> bool:
    """Return whether the test of a guard fails in a copy of the checkout without the guard."""
    path = root / guard.file
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(guard.on, guard.off), encoding="utf-8")
    try:
        return not _passes(guard, root)
    finally:
        path.write_text(text, encoding="utf-8")


def _passes(guard: Guard, root: Path) -> bool:
    """Return whether a test passes on the code of a folder.

    Raises:
        RuntimeError: the test could not be run.
    """
    sources = [root / "apps", *sorted(root.glob("packages/*/src"))]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(map(str, sources)),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-n0", "-p", "no:cacheprovider"]
    try:
        ended = subprocess.run(
            [*command, guard.test, "-k", guard.name],
            cwd=root,
            env=environment,
            capture_output=True,
            text=True,
            timeout=TEST_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    if ended.returncode not in (0, 1):
        raise RuntimeError(f"{guard.test} -k {guard.name}: {ended.stdout[-2_000:]}{ended.stderr}")
    return ended.returncode == 0


def run_guards(guards: Iterable[Guard], jobs: int = 1) -> int:
    """Switch guards off, `jobs` at once; return the number of tests that still passed."""
    missed = 0
    with make_copies(jobs) as copies, ThreadPoolExecutor(jobs) as pool:

        def check(guard: Guard) -> tuple[Guard, bool]:
            root = copies.get()
            try:
                return guard, does_fail_without(guard, root)
            finally:
                copies.put(root)

        for guard, is_red in pool.map(check, guards):
            missed += not is_red
            result = "fails without it" if is_red else "PASSES WITHOUT IT"
            print(f"row {guard.row}: {guard.does}: {guard.name} {result}", flush=True)
    return missed


@contextmanager
def make_copies(count: int) -> Generator["SimpleQueue[Path]"]:
    """Yield a queue of `count` copies of the checkout, and remove them afterwards."""
    with tempfile.TemporaryDirectory(prefix="onetape-guards-") as folder:
        copies: SimpleQueue[Path] = SimpleQueue()
        for number in range(count):
            root = Path(folder, str(number))
            copy_checkout(root)
            copies.put(root)
        yield copies


def main() -> int:
    """Return the exit code: 0, or 6 if a test passes without its guard or the table is outdated."""
    parser = argparse.ArgumentParser(description="Switch guards off and run their tests.")
    parser.add_argument("--only", type=int, action="append", metavar="ROW", help="only this row")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="run N tests at once")
    parser.add_argument("--write", action="store_true", help=f"write the table of {PAGE}")
    parser.add_argument("--check", action="store_true", help="compare that table")
    arguments = parser.parse_args()
    guards = read_guards()
    faults = [fault for guard in guards if (fault := find_fault(guard)) is not None]
    for fault in faults:
        print(f"{LIST}: {fault}", file=sys.stderr)
    if faults:
        return 6
    page = ROOT / PAGE
    text = page.read_text(encoding="utf-8")
    if arguments.write:
        page.write_text(replace_table(text, guards), encoding="utf-8")
        return 0
    if arguments.check:
        return 0 if replace_table(text, guards) == text else 6
    chosen = [one for one in guards if not arguments.only or one.row in arguments.only]
    return 6 if run_guards(chosen, max(arguments.jobs, 1)) else 0


if __name__ == "__main__":
    sys.exit(main())
