"""Writer of requirements/*.txt from uv.lock: versions, hashes and markers for pip, no address.

The images are built from these files. `--check` writes nothing, and fails if a file differs.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "requirements"
#: Contents of each file, as arguments of `uv export`.
EXPORTS = {
    "backfiller": ("--package=onetape-backfiller", "--no-dev"),
    "backtester": ("--package=onetape-backtester", "--no-dev"),
    "trader": ("--package=onetape-trader", "--no-dev"),
    "build": ("--only-group=build",),
    "extras/cluster": ("--package=onetape-optimization", "--extra=cluster", "--no-dev"),
    "extras/optuna": ("--package=onetape-optimization", "--extra=optuna", "--no-dev"),
    "extras/parquet": ("--package=onetape-backfiller", "--extra=parquet", "--no-dev"),
    "extras/talib": ("--only-group=dev",),
}
#: Packages of an export that are written; their dependencies are in the files of the apps.
SELECTED_PACKAGES = {"extras/parquet": ("pyarrow",), "extras/talib": ("ta-lib",)}
STYLE = ("--no-emit-workspace", "--no-annotate", "--no-header", "--format=requirements.txt")


def export(name: str) -> str:
    """Return the contents that the completed lock demands of a requirements file.

    Raises:
        SystemExit: uv failed, or its response names an address.
    """
    command = ["uv", "export", "-q", "--locked", *EXPORTS[name], *STYLE]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"uv export of {name} failed: {done.stderr.strip()}; run: uv lock")
    if "://" in done.stdout:
        raise SystemExit(f"uv export of {name} names an index address; no file may hold one")
    return (
        select_packages(done.stdout, SELECTED_PACKAGES[name])
        if name in SELECTED_PACKAGES
        else done.stdout
    )


def select_packages(text: str, packages: tuple[str, ...]) -> str:
    """Return the entries of some packages of a requirements file, with their hashes."""
    entries = re.findall(r"^\S+==.*(?:\n    .*)*\n", text, re.MULTILINE)
    return "".join(one for one in entries if one.partition("==")[0] in packages)


def main() -> None:
    """Write the files, or with --check compare them."""
    check = sys.argv[1:] == ["--check"]
    if sys.argv[1:] and not check:
        raise SystemExit("usage: export_requirements.py [--check]")
    stale: list[str] = []
    for name in EXPORTS:
        file, text = FOLDER / f"{name}.txt", export(name)
        if check:
            stale += [name] if not file.exists() or file.read_text(encoding="utf-8") != text else []
        else:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        print(f"requirements/{name}.txt: {text.count(' --hash=') and text.count('==')} packages")
    if stale:
        names = ", ".join(f"requirements/{name}.txt" for name in stale)
        raise SystemExit(f"{names}: differs from uv.lock; run: make requirements")


if __name__ == "__main__":
    main()
