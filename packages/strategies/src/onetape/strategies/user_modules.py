"""Running a user's strategy file and the files that it imports, always from their present text.

`import tools` in user/strategies/mine.py runs user/strategies/tools.py, or the package tools/ next
to it, unless Python or an installed package has a module of that name.
"""

import hashlib
import os
import sys
from collections.abc import Sequence
from importlib.machinery import FileFinder, ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import module_from_spec
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from onetape.core.errors import ConfigurationError
from onetape.strategies.imported_files import read_imported_files
from onetape.strategies.output_capture import stdout_to_stderr

#: Packages whose name in the index differs from that of their module.
_PACKAGE_NAMES: Final = {
    "sklearn": "scikit-learn",
    "talib": "ta-lib",
    "yaml": "pyyaml",
}
#: Module search path of the program before any strategy file ran. Modules in these folders are
#: installed, also where the virtual environment is below the folder of a strategy's file.
_SEARCH_PATH_AT_START: Final = tuple(sys.path)


class UserModuleLoader(SourceFileLoader):
    """Loads a user's file from its text, never from Python's cache of compiled files.

    That cache would miss a second save within the same second.
    """

    source: bytes = b""
    """Text of the file, set by `get_code`."""
    imported_texts: "dict[Path, bytes] | None" = None
    """Text of each file that a strategy file imports from its folder, by path; None: not stored."""

    def get_code(self, fullname: str) -> Any:
        """Return the compiled text of the file; store the text for the digest."""
        self.source = self.get_data(self.path)
        if self.imported_texts is not None:
            self.imported_texts[Path(self.path)] = self.source
        return self.source_to_code(self.source, self.path)


class _UserModuleFinder:
    """Finds the modules that the last loaded strategy file imports from its folder."""

    def __init__(self) -> None:
        """Begin without a folder."""
        self._folder = ""
        self._installed_below: tuple[str, ...] = ()
        self._texts: dict[Path, bytes] = {}
        self._names: list[str] = []

    def look_in(self, folder: Path, texts: dict[Path, bytes]) -> None:
        """Search this folder from now on, and put the texts that are loaded into `texts`.

        Modules of an earlier file are removed, so that the file is read again.
        """
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)
        self._folder, self._texts = str(folder), texts
        self._installed_below = tuple(
            place for place in _SEARCH_PATH_AT_START if place.startswith(f"{folder}{os.sep}")
        )
        for name in self._names:
            module = sys.modules.pop(name, None)
            parent, _, last = name.rpartition(".")
            if parent in sys.modules and vars(sys.modules[parent]).get(last) is module:
                delattr(sys.modules[parent], last)
        self._names.clear()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a file of the folder, or None for a module of another place."""
        del target
        if path is not None:
            places = [place for place in path if self._is_inside(place)]
        else:
            is_pythons = fullname in sys.stdlib_module_names
            places = (
                [] if is_pythons else [at for at in self._list_places() if _may_have(at, fullname)]
            )
        for place in places:
            spec = FileFinder(place, (UserModuleLoader, [".py"])).find_spec(fullname)
            if spec is None or (path is None and self._is_installed(fullname)):
                continue
            if isinstance(spec.loader, UserModuleLoader):
                spec.loader.imported_texts = self._texts
            self._names.append(fullname)
            return spec
        return None

    def _list_places(self) -> list[str]:
        """Return the folder, and those below that the file put on `sys.path`."""
        below = [place for place in sys.path if place != self._folder and self._is_inside(place)]
        return [self._folder, *below]

    def _is_inside(self, place: str) -> bool:
        """Return whether a folder or file is below the strategy's folder, and not installed."""
        return f"{place}{os.sep}".startswith(f"{self._folder}{os.sep}") and not any(
            f"{place}{os.sep}".startswith(f"{installed}{os.sep}")
            for installed in self._installed_below
        )

    def _is_installed(self, name: str) -> bool:
        """Return whether a module of that name is installed; a folder without code is not one."""
        found = PathFinder.find_spec(name)
        if found is None or found.origin is None:
            return False
        return not self._is_inside(found.origin)


def _may_have(folder: str, name: str) -> bool:
    path = os.path.join(folder, name)  # noqa: PTH118 - each import of a run calls it
    return os.path.isfile(f"{path}.py") or os.path.isdir(path)  # noqa: PTH112, PTH113


_USER_MODULES = _UserModuleFinder()


def run_file(path: Path) -> ModuleType:
    """Run a strategy's file as a separate module; its imports from the same folder run again.

    Raises:
        ConfigurationError: the file cannot be run (the text names file and line), or its folder
            has too much code.
    """
    where = path.resolve()
    module_name = f"onetape_user_{path.stem}_{hashlib.sha256(str(where).encode()).hexdigest()[:12]}"
    loader = UserModuleLoader(module_name, str(where))
    spec = ModuleSpec(module_name, loader, origin=str(where))
    spec.has_location = True  # which gives it a `__file__`
    module = module_from_spec(spec)
    # The finder also needs the texts of modules that a function imports later.
    texts = read_imported_files(where)
    _USER_MODULES.look_in(where.parent, texts)
    # dataclasses look up the module of a class by its name.
    sys.modules[module_name] = module
    try:
        with stdout_to_stderr():
            loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[module_name]
        raise ConfigurationError(
            f"{_format_place(error, path, texts)}: {type(error).__name__}: "
            f"{getattr(error, 'msg', error)}; {_describe_remedy(error)}"
        ) from error
    loader.imported_texts = texts
    return module


def _describe_remedy(error: BaseException) -> str:
    """Return the remedy for a file that cannot be run: a missing package, or a fix of the file."""
    name = error.name if isinstance(error, ModuleNotFoundError) else None
    top = (name or "").partition(".")[0]
    if not top or top in sys.modules or PathFinder.find_spec(top) is not None:
        return "fix the file"
    package = _PACKAGE_NAMES.get(top, top)
    return (
        f"install it with `uv pip install {package}` "
        "(in an image: docs/packages.md), or correct the import"
    )


def collect_sources(module: ModuleType) -> list[bytes]:
    """Return the source of a module: its text, then names and texts of the files next to it."""
    loader = module.__spec__.loader if module.__spec__ else None
    if not isinstance(loader, UserModuleLoader):
        return [Path(module.__file__).read_bytes() if module.__file__ else b""]
    folder = Path(loader.path).parent
    found = [loader.source]
    for path, text in sorted((loader.imported_texts or {}).items()):
        found += [str(path.relative_to(folder)).encode(), text]
    return found


def _format_place(error: BaseException, path: Path, texts: dict[Path, bytes]) -> str:
    """Return the file and line of an error: the innermost frame in the user's files."""
    where = path.resolve()
    user_files = {str(where): path, **{str(each): path.parent / each.name for each in texts}}
    file, line, step = str(where), 1, error.__traceback__
    while step is not None:
        if step.tb_frame.f_code.co_filename in user_files:
            file, line = step.tb_frame.f_code.co_filename, step.tb_lineno
        step = step.tb_next
    if isinstance(error, SyntaxError) and error.lineno and error.filename in user_files:
        file, line = error.filename, error.lineno
    if file == str(where):
        return f"strategy file {path}, line {line}"
    shown = path.parent / Path(file).relative_to(where.parent)
    return f"{shown}, line {line}, which strategy file {path} imports"
