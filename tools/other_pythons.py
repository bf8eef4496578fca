"""Comparison of the simulator's market on every other Python of this machine.

The market is a pure function of seed, symbol and time, so every Python version from 3.11 on must
make the same candles, with the NumPy that the package index has for it. Each version runs in a
temporary environment of uv outside the checkout. `--list` only prints the interpreters.

uv run python tools/other_pythons.py [--list]
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from market_digest import GOLDEN

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("core", "simulator")
OLDEST = (3, 11)
Version = tuple[int, int]


def list_uv_versions() -> list[tuple[Version, str]]:
    """Return version and path of each CPython that uv finds."""
    command = ["uv", "python", "list", "--only-installed", "--output-format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [
        ((one["version_parts"]["major"], one["version_parts"]["minor"]), one["path"])
        for one in json.loads(done.stdout)
        if one["implementation"] == "cpython" and one["variant"] == "default"
    ]


def list_pyenv_versions() -> list[tuple[Version, str]]:
    """Return version and path of each CPython of pyenv, active or not."""
    folder = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    found: list[tuple[Version, str]] = []
    for path in sorted(folder.glob("3.*/bin/python3")):
        version = re.match(r"(\d+)\.(\d+)\.\d+$", path.parent.parent.name)
        if version:
            found.append(((int(version[1]), int(version[2])), str(path)))
    return found


def find_other_pythons(found: Iterable[tuple[Version, str]], own: Version) -> dict[Version, str]:
    """Return one interpreter of each supported minor version except this one, oldest first."""
    chosen: dict[Version, str] = {}
    for version, path in found:
        if version >= OLDEST and version != own:
            chosen.setdefault(version, path)
    return dict(sorted(chosen.items()))


def run_market_digest(python: str) -> tuple[str, str]:
    """Return the digest of the market on an interpreter, and its version text.

    Raises:
        SystemExit: the digest could not be computed.
    """
    command = [
        *("uv", "run", "-q", "--isolated", "--no-project", "--python", python),
        *("--with", "numpy>=2", "--with", "msgspec>=0.20"),
        *("python", str(ROOT / "tools" / "market_digest.py")),
    ]
    sources = [str(ROOT / "packages" / name / "src") for name in SOURCES]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sources)}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"  # nothing of another version in the checkout
    done = subprocess.run(
        command, cwd=ROOT.parent, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"the market could not be computed by {python}: {done.stderr.strip()}")
    number, _, version = done.stdout.strip().partition(" ")
    return number, version


def main() -> None:
    """Compare every version, or with --list print the versions."""
    if sys.argv[1:] not in ([], ["--list"]):
        raise SystemExit("usage: other_pythons.py [--list]")
    chosen = find_other_pythons([*list_uv_versions(), *list_pyenv_versions()], sys.version_info[:2])
    if sys.argv[1:]:
        print("\n".join(chosen.values()))
        return
    different: list[str] = []
    for python in chosen.values():
        number, version = run_market_digest(python)
        different += [version] if number != GOLDEN else []
        print(f"{version}: market {number}")
    if different:
        raise SystemExit(f"the market should be {GOLDEN}, and is not on {'; '.join(different)}")


if __name__ == "__main__":
    main()
