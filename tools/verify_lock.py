"""Check of the completed uv.lock against the committed one, which has no addresses (`make lock`).

uv adds the addresses without comparing hashes, so this file does: versions must be equal, and a
file that both locks name must have the same hash. The index may have new files.

    verify_lock.py [COMMITTED] [COMPLETED]    default: the file git would commit, and uv.lock
"""

import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clean_lock import PLACEHOLDER_REGISTRY, clean

ROOT = Path(__file__).resolve().parent.parent
#: Keys of a package that name files; everything else must be equal.
FILE_KEYS = ("sdist", "wheels")

Lock = dict[str, Any]
Package = dict[str, Any]


def find_lock_faults(committed: str, completed: str) -> list[str]:
    """Return the faults of a pair of locks, one line each; empty without a fault."""
    found = [
        f"line {number} of the committed lock names an address: {line.strip()}"
        for number, line in enumerate(committed.splitlines(), start=1)
        if "://" in line
    ]
    if found:
        return found
    if clean(committed) != committed:
        found.append("the committed lock is not in its clean form; set the git filter and add it")
    if f'registry = "{PLACEHOLDER_REGISTRY}"' in completed:
        return [
            *found,
            "the lock next to it is not completed yet, so nothing is proved; run: uv lock",
        ]
    one, other = tomllib.loads(committed), tomllib.loads(clean(completed))
    found += [
        f"{key} differs"
        for key in sorted((one.keys() | other.keys()) - {"package"})
        if one.get(key) != other.get(key)
    ]
    ours, theirs = index_packages(one), index_packages(other)
    found += [f"{name} is in one lock only" for name in sorted(ours.keys() ^ theirs.keys())]
    for name in sorted(ours.keys() & theirs.keys()):
        found += [f"{name}: {text}" for text in iterate_package_faults(ours[name], theirs[name])]
    return found


def iterate_package_faults(ours: Package, theirs: Package) -> Iterator[str]:
    """Yield the differences between a package of the committed and of the completed lock."""
    rest = [
        {key: value for key, value in package.items() if key not in FILE_KEYS}
        for package in (ours, theirs)
    ]
    if rest[0] != rest[1]:
        yield "dependencies or metadata differ"
    known, now = index_file_hashes(ours), index_file_hashes(theirs)
    for file in sorted(known.keys() & now.keys()):
        if not known[file] or known[file] != now[file]:
            yield f"{file} has hash {now[file]}, the committed lock has {known[file]}"
    if known and not known.keys() & now.keys():
        yield "the index has none of the files that the committed lock names"


def index_packages(lock: Lock) -> dict[str, Package]:
    """Return the packages of a lock by name and version; workspace members have no version."""
    return {f"{one['name']} {one.get('version', '')}".strip(): one for one in lock["package"]}


def index_file_hashes(package: Package) -> dict[str, str]:
    """Return the hash of each file by its name."""
    files = [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]
    return {file["filename"]: file.get("hash", "") for file in files}


def main() -> None:
    """Compare the two locks and fail on the first difference that matters."""
    paths = [Path(name) for name in sys.argv[1:3]]
    if paths:
        committed = paths[0].read_text(encoding="utf-8")
    else:
        show = ["git", "show", ":uv.lock"]
        committed = subprocess.check_output(show, cwd=ROOT, text=True, encoding="utf-8")
    completed = (paths[1] if len(paths) > 1 else ROOT / "uv.lock").read_text(encoding="utf-8")
    found = find_lock_faults(committed, completed)
    for line in found:
        print(f"uv.lock: {line}", file=sys.stderr)
    if found:
        raise SystemExit(1)
    files = sum(
        len(index_file_hashes(one)) for one in index_packages(tomllib.loads(committed)).values()
    )
    gained = "" if clean(completed) == committed else "; the index has gained or lost files"
    print(f"uv.lock: {files} files, every hash as committed, no address{gained}")


if __name__ == "__main__":
    main()
