"""Install one app into a virtual environment, as the Dockerfile does and CI repeats.

First `requirements`: other people's wheels, each proved by its hash. Then `members`: our packages,
no dependencies. The configuration and the environment of the machine decide
where pip finds its index.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
import venv
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PREFIX = "onetape-"


def member_folders(app: str, root: Path = ROOT) -> list[Path]:
    """Return the folders of an app and of every workspace member it needs, sorted.

    Raises:
        SystemExit: there is no such app.
    """
    folders: dict[str, Path] = {}
    needs: dict[str, list[str]] = {}
    for file in [*root.glob("apps/*/pyproject.toml"), *root.glob("packages/*/pyproject.toml")]:
        project = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
        folders[project["name"]] = file.parent
        needs[project["name"]] = project.get("dependencies", [])
    wanted, found = [PREFIX + app], set[str]()
    if wanted[0] not in folders:
        raise SystemExit(f"no app {app} in {root / 'apps'}")
    while wanted:
        name = wanted.pop()
        if name not in found:
            found.add(name)
            wanted += [need for need in needs[name] if need.startswith(PREFIX)]
    return sorted(folders[name] for name in found)


def extra_lists(extras: str, root: Path = ROOT) -> list[str]:
    """Return the requirements file of each extra.

    Args:
        extras: Names, with spaces or commas between them; empty: none.
        root: Folder that holds `requirements/extras`.

    Raises:
        SystemExit: there is no such extra.
    """
    known = sorted(file.stem for file in (root / "requirements/extras").glob("*.txt"))
    names = extras.replace(",", " ").split()
    for name in names:
        if name not in known:
            raise SystemExit(
                f"no extra {name} (there are: {', '.join(known)}); other packages: docs/packages.md"
            )
    return [f"requirements/extras/{name}.txt" for name in dict.fromkeys(names)]


def install_requirements(app: str, target: Path, extras: str = "") -> None:
    """Make the environment and install what requirements/APP.txt and the extras list, wheels only.

    Raises:
        SystemExit: there is no such list, or pip failed.
    """
    if not (ROOT / f"requirements/{app}.txt").is_file():
        raise SystemExit(f"no requirements/{app}.txt; name an app, as in APP=trader")
    lists = [f"requirements/{app}.txt", *extra_lists(extras)]
    make_environment(target)
    for one in lists:
        pip_install(target, one)
    libraries = site_packages(target)
    for package in ("numpy", "pandas"):  # the tests of packages are a sixth of the environment
        for tests in libraries.glob(f"{package}/**/tests"):
            shutil.rmtree(tests)
    compile_folders(target, [libraries])


def install_members(app: str, target: Path) -> None:
    """Build our packages with the pinned build backends and install them, nothing else."""
    with tempfile.TemporaryDirectory() as scratch:
        # The backends are in a separate environment, so that the app's environment lacks them.
        builder, wheels = Path(scratch, "builder"), Path(scratch, "wheels")
        make_environment(builder)
        pip_install(builder, "requirements/build.txt")
        folders = [str(folder) for folder in member_folders(app)]
        # uv-build is a program next to its Python module, and is searched for on the path.
        path = os.pathsep.join([str(builder / "bin"), os.environ["PATH"]])
        isolated = ["--no-deps", "--no-build-isolation", f"-w{wheels}"]
        pip(builder, "wheel", *isolated, *folders, path=path)
        built = [str(wheel) for wheel in sorted(wheels.glob("*.whl"))]
        pip(target, "install", "--no-deps", "--no-index", "--no-compile", *built)
    compile_folders(target, [site_packages(target) / name for name in ("onetape", app)])


def site_packages(target: Path) -> Path:
    """Return the folder with the packages of an environment."""
    return next(target.glob("lib/python3*/site-packages"))


def compile_folders(target: Path, folders: Sequence[Path]) -> None:
    """Compile to bytecode that is not checked against file times: copying an image changes them."""
    options = ["-q", "-j0", "--invalidation-mode=unchecked-hash"]
    paths = [str(folder) for folder in folders]
    run([str(target / "bin/python"), "-m", "compileall", *options, *paths])


def make_environment(target: Path) -> None:
    """Make an empty environment without pip; the pip of the calling Python fills it."""
    venv.create(target, symlinks=True, with_pip=False)


def pip_install(target: Path, requirements: str) -> None:
    """Install a list of wheels, each with a hash, and nothing that the list does not name."""
    proved = ["--require-hashes", "--no-deps", "--only-binary=:all:", "--no-compile"]
    pip(target, "install", *proved, "-r", str(ROOT / requirements))


def pip(target: Path, *arguments: str, path: str | None = None) -> None:
    """Run the calling Python's pip for another environment, with another PATH if one is given."""
    python = str(target / "bin/python")
    run([sys.executable, "-m", "pip", "--python", python, "-q", *arguments], path)


def run(command: Sequence[str], path: str | None = None) -> None:
    """Run a command; end with its exit code where it fails."""
    environment = os.environ | ({"PATH": path} if path else {})
    code = subprocess.run(command, env=environment, check=False).returncode
    if code:
        raise SystemExit(code)


def main() -> None:
    """Run the steps named on the command line."""
    steps = ("requirements", "members")
    parser = argparse.ArgumentParser(description="Install one app into a virtual environment.")
    parser.add_argument("--app", required=True, metavar="APP")
    parser.add_argument("--venv", required=True, type=Path, metavar="FOLDER")
    parser.add_argument("--extras", default="", metavar="NAMES", help="such as talib")
    parser.add_argument("step", nargs="?", choices=steps, help="default: one after the other")
    options = parser.parse_args()
    if options.step != "members":
        install_requirements(options.app, options.venv, options.extras)
    if options.step != "requirements":
        install_members(options.app, options.venv)


if __name__ == "__main__":
    main()
