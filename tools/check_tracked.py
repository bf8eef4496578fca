"""Fail where a tracked file, or any commit of uv.lock, names the machine it was written on.

Searched for are the addresses of the package index that uv.lock was completed with, and paths below
the home of the user, the folder of the checkout and the recorded data. Their names are taken from
this machine, so that none is written down here.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent
#: Top folders that every machine has: a path below them is no sign.
COMMON = {"/", "app", "bin", "dev", "etc", "opt", "proc", "run", "src", "tmp", "usr", "var"}
#: Users' homes on any machine.
HOMES = ("home", "root", "Users")


def index_hosts(lock: str) -> set[str]:
    """Return the hosts that a completed lock names."""
    addresses: list[str] = re.findall(r'"([a-z+]+://[^"]+)"', lock)
    return {host for address in addresses if (host := urlsplit(address).hostname)}


def own_folders(root: Path) -> set[str]:
    """Return the top folders of this machine that no tracked file may name."""
    paths = [root, Path.home(), Path(os.environ.get("ONETAPE_SHARED") or root)]
    tops = {path.resolve().parts[1] for path in paths if len(path.resolve().parts) > 1}
    return (tops - COMMON) | set(HOMES)


def git(root: Path, *arguments: str) -> list[str]:
    """Return the lines that a git command prints; git grep finds nothing with exit code 1."""
    command = ["git", *arguments]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode > 1:
        raise SystemExit(f"git {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout.splitlines()


def findings(root: Path) -> list[str]:
    """Return each name of this machine that git holds, one line each."""
    found: list[str] = []
    for host in sorted(index_hosts((root / "uv.lock").read_text(encoding="utf-8"))):
        found += git(root, "grep", "--cached", "-nIF", host)
    folders = "|".join(re.escape(name) for name in sorted(own_folders(root)))
    pattern = rf"(^|[^A-Za-z0-9_.])/({folders})/[A-Za-z0-9._]"
    found += git(root, "grep", "--cached", "-nIE", pattern)
    commits = git(root, "log", "--format=%h", "-S://", "--", "uv.lock")
    return found + [f"commit {commit}: uv.lock named an address" for commit in commits]


def main() -> None:
    """Print the findings, and fail if there are any."""
    found = findings(ROOT)
    for line in found:
        print(line[:200], file=sys.stderr)
    if found:
        raise SystemExit(1)
    print("no index address and no path of this machine in what git holds")


if __name__ == "__main__":
    main()
