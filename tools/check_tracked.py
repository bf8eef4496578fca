"""Check that no tracked file, and no commit of uv.lock, names the machine it was written on.

It searches for hosts of the package index that uv.lock was completed with, and for paths below the
home of the user, the folder of the checkout and the recorded data. These names are read from the
present machine, so that none of them is written in this file.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent
#: Top folders that every machine has; a path below one of them names no machine.
COMMON = {"/", "app", "bin", "dev", "etc", "opt", "proc", "run", "src", "tmp", "usr", "var"}
#: Users' homes on any machine.
HOMES = ("home", "root", "Users")


def find_index_hosts(lock: str) -> set[str]:
    """Return the hosts that a completed lock names."""
    addresses: list[str] = re.findall(r'"([a-z+]+://[^"]+)"', lock)
    return {host for address in addresses if (host := urlsplit(address).hostname)}


def list_own_folders(root: Path) -> set[str]:
    """Return the top folders of this machine that no tracked file may name."""
    paths = [root, Path.home(), Path(os.environ.get("ONETAPE_SHARED") or root)]
    tops = {path.resolve().parts[1] for path in paths if len(path.resolve().parts) > 1}
    return (tops - COMMON) | set(HOMES)


def run_git(root: Path, *arguments: str) -> list[str]:
    """Return the lines that a git command prints; git grep finds nothing with exit code 1."""
    command = ["git", *arguments]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode > 1:
        raise SystemExit(f"git {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout.splitlines()


def find_machine_names(root: Path) -> list[str]:
    """Return each name of this machine that git holds, one line each."""
    found: list[str] = []
    for host in sorted(find_index_hosts((root / "uv.lock").read_text(encoding="utf-8"))):
        found += run_git(root, "grep", "--cached", "-nIF", host)
    folders = "|".join(re.escape(name) for name in sorted(list_own_folders(root)))
    pattern = rf"(^|[^A-Za-z0-9_.])/({folders})/[A-Za-z0-9._]"
    found += run_git(root, "grep", "--cached", "-nIE", pattern)
    commits = run_git(root, "log", "--format=%h", "-S://", "--", "uv.lock")
    return found + [f"commit {commit}: uv.lock named an address" for commit in commits]


def main() -> None:
    """Print the findings, and fail if there are any."""
    found = find_machine_names(ROOT)
    for line in found:
        print(line[:200], file=sys.stderr)
    if found:
        raise SystemExit(1)
    print("no index address and no path of this machine in what git holds")


if __name__ == "__main__":
    main()
