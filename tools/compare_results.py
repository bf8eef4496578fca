"""Comparison of the results of two checkouts: demo, reference runs, and the JSON of 35 commands.

    uv run python tools/compare_results.py record FOLDER    # in each checkout, into its own folder
    uv run python tools/compare_results.py compare BEFORE AFTER [--renames FILE]

`record` writes one JSON file for each command. `compare` prints each value that differs, and ends
with exit code 6 if there is one. `--renames` names a JSON file with two objects: `keys` maps an old
key to the new key, `texts` maps an old text inside any value to the new text. Times, ports, paths
and durations are not compared. `record --candles FOLDER` adds the reference runs over real candle
files.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, cast

from compared_runs import DEMO, REFERENCES, RUNS, SERIES, Reference

#: Keys whose values depend on the machine or the clock.
_NOT_COMPARED: Final = {
    *("seconds", "database", "report", "run", "made", "folder", "versions"),
    # The number of bars that a backtest checks depends on the speed of the machine.
    *("bars_checked", "check.text"),
}
#: Parts of a text that depend on the machine or the clock: ports, durations, dates of today.
_VOLATILE: Final = (
    (re.compile(r"127\.0\.0\.1:\d+"), "127.0.0.1:PORT"),
    (re.compile(r"\(\d+(\.\d+)? s\)|\b\d+(\.\d+)? s\b|\d+ ms\b"), "TIME"),
    (re.compile(r"/[^\s,;:]*/"), "FOLDER/"),
    (re.compile(r"^(bias )?check: .*"), "CHECK"),
)
#: `keys` and `texts`, each from old to new.
Renames = Mapping[str, Mapping[str, str]]
#: Name of the database of simulated candles, in the folder in which the commands run.
_DATABASE: Final = "candles.db"
_BIN: Final = Path(sys.executable).parent


def main() -> None:
    """Record or compare, by the arguments of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    commands = parser.add_subparsers(dest="command", required=True)
    recording = commands.add_parser("record", help="run the commands in this checkout")
    recording.add_argument("folder", type=Path)
    recording.add_argument("--candles", type=Path, help="folder of the reference candle files")
    comparing = commands.add_parser("compare", help="compare two recorded folders")
    comparing.add_argument("before", type=Path)
    comparing.add_argument("after", type=Path)
    comparing.add_argument("--renames", type=Path, help="JSON: {keys: {old: new}, texts: {...}}")
    given = parser.parse_args()
    if given.command == "record":
        record(given.folder.resolve(), given.candles)
        return
    renames: Renames = json.loads(given.renames.read_text()) if given.renames else {}
    differences = list(compare(given.before, given.after, renames))
    for line in differences:
        print(line)
    print(f"{len(differences)} differences")
    raise SystemExit(6 if differences else 0)


def record(folder: Path, candles: Path | None) -> None:
    """Run every command and write each result to FOLDER/NAME.json.

    Args:
        folder: Created if missing; its folder `work`, made again each time, has the databases.
        candles: Folder of the reference candle files; None leaves the reference runs out.
    """
    work = folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    for arguments in SERIES:
        _run(work, "backfiller", *arguments, "--db", _DATABASE)
    jobs: dict[str, tuple[str, ...]] = {"demo": DEMO}
    for name, arguments in RUNS:
        jobs[name] = ("backtester", *arguments, "--db", _DATABASE)
    if candles is not None:
        for reference in REFERENCES:
            jobs[reference.name] = _prepare_reference(reference, candles.resolve(), work)
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        results = {name: pool.submit(_run, work, *job) for name, job in jobs.items()}
    for name, result in results.items():
        (folder / f"{name}.json").write_text(result.result(), encoding="utf-8")
    print(f"{len(jobs)} results in {folder}")


def _prepare_reference(reference: Reference, candles: Path, work: Path) -> tuple[str, ...]:
    """Import the candles of a reference run and return its command."""
    database = f"{reference.name}.db"
    series = ("--exchange", "binance", "-p", reference.symbol, "-t", reference.timeframe)
    source = str(candles / reference.file)
    _run(work, "backfiller", "import", source, *series, "--db", database)
    # The reference results go on over the outages of the exchange.
    _run(work, "backfiller", "gaps", "--accept", "all", "--because", "outage", "--db", database)
    parameters = [word for one in reference.parameters for word in ("--param", one)]
    return (
        *("backtester", *series, "--db", database, "-s", reference.strategy, *parameters),
        *("--trading-rules", "none", "--json"),
    )


def _run(work: Path, program: str, *arguments: str) -> str:
    """Return the output of a program of this checkout, with its exit code and errors as JSON.

    A document on stdout stays one; other text becomes a list of lines.
    """
    done = subprocess.run(
        [str(_BIN / program), *arguments], cwd=work, capture_output=True, text=True, check=False
    )
    try:
        printed: Any = json.loads(done.stdout)
    except ValueError:
        printed = done.stdout.splitlines()
    errors = done.stderr.splitlines() if done.returncode else []
    document = {"exit_code": done.returncode, "stdout": printed, "stderr": errors}
    return json.dumps(document, indent=1) + "\n"


def compare(before: Path, after: Path, renames: Renames) -> Iterator[str]:
    """Yield one line for each value that differs between two recorded folders.

    Args:
        before: Folder of the earlier checkout.
        after: Folder of the later checkout.
        renames: `keys` and `texts`, each from old to new.
    """
    names = {file.name for folder in (before, after) for file in folder.glob("*.json")}
    for name in sorted(names):
        missing = [str(folder) for folder in (before, after) if not (folder / name).exists()]
        if missing:
            yield f"{name}: not in {missing[0]}"
            continue
        old = _rename_values(json.loads((before / name).read_text()), renames)
        new = json.loads((after / name).read_text())
        yield from _iterate_differences(old, new, name.removesuffix(".json"))


def _rename_values(value: Any, renames: Renames) -> Any:
    """Return a value with its keys and texts renamed at every depth."""
    keys = renames.get("keys", {})
    if isinstance(value, dict):
        given = cast("dict[str, Any]", value)
        return {keys.get(key, key): _rename_values(each, renames) for key, each in given.items()}
    if isinstance(value, list):
        return [_rename_values(each, renames) for each in cast("list[Any]", value)]
    if isinstance(value, str):
        for old, new in renames.get("texts", {}).items():
            value = value.replace(old, new)
    return value


def _iterate_differences(old: Any, new: Any, place: str) -> Iterator[str]:
    """Yield the place and both values wherever two documents differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        before, after = cast("dict[str, Any]", old), cast("dict[str, Any]", new)
        for key in [*before, *(key for key in after if key not in before)]:
            if not {key, f"{place.rpartition('.')[2]}.{key}"} & _NOT_COMPARED:
                absent = "(absent)"
                yield from _iterate_differences(
                    before.get(key, absent), after.get(key, absent), f"{place}.{key}"
                )
    elif isinstance(old, list) and isinstance(new, list):
        yield from _iterate_list_differences(cast("list[Any]", old), cast("list[Any]", new), place)
    elif _replace_volatile_parts(old) != _replace_volatile_parts(new):
        yield f"{place}: {old!r} became {new!r}"


def _iterate_list_differences(old: Sequence[Any], new: Sequence[Any], place: str) -> Iterator[str]:
    if len(old) != len(new):
        yield f"{place}: {len(old)} entries became {len(new)}"
    for number, (before, after) in enumerate(zip(old, new, strict=False)):
        yield from _iterate_differences(before, after, f"{place}[{number}]")


def _replace_volatile_parts(value: Any) -> Any:
    """Return a value without the parts of a text that depend on machine and clock."""
    if not isinstance(value, str):
        return value
    for pattern, replacement in _VOLATILE:
        value = pattern.sub(replacement, value)
    return value


if __name__ == "__main__":
    main()
