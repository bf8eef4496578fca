"""Make `import ccxt` load the class of an exchange at its first use, not all classes at once.

The `__init__` files of CCXT's packages hold one import statement for each of a hundred exchanges.
After `install()` these statements are skipped; each is carried out when its name is first used:
`ccxt.pro.binance`, `from ccxt import kraken`, `getattr(ccxt.async_support, "okx")`. All other
statements of the files run as they are. Modules, classes and errors are those of a plain import,
with one difference: `vars(ccxt)` lacks the exchanges that nothing has used yet.

A package whose `__init__` has no such statements, or that was imported before `install()`, is a
plain import: slower, and otherwise the same.
"""

import importlib
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType
from typing import Any, Final

#: The packages of CCXT whose `__init__` imports the classes of all exchanges.
PACKAGES: Final = frozenset({"ccxt", "ccxt.async_support", "ccxt.pro"})
#: The attribute of a package that holds the names of the skipped statements.
_SKIPPED: Final = "__skipped_exchanges__"


def install() -> None:
    """Change the imports of CCXT's packages in this process; repeated calls change nothing."""
    if not any(isinstance(finder, _CcxtFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _CcxtFinder())


class _CcxtFinder:
    """Finds CCXT's packages where Python finds them, and chooses `_CcxtLoader` to load them."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of one of `PACKAGES`; None leaves a module to Python's own finders."""
        if fullname not in PACKAGES:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        # A package without a source file (in a ZIP archive, or compiled) stays a plain import.
        if spec is not None and type(spec.loader) is SourceFileLoader:
            spec.loader = _CcxtLoader(fullname, spec.loader.path)
        return spec


class _CcxtLoader(SourceFileLoader):
    """Runs the `__init__` of a package without its imports of exchanges."""

    def exec_module(self, module: ModuleType) -> None:
        """Run the statements in the module's namespace."""
        import ast  # only a program that uses CCXT pays for it

        tree = ast.parse(self.get_data(self.path))
        skipped = {
            statement: statement.names[0].name
            for statement in tree.body
            if isinstance(statement, ast.ImportFrom)
            and len(statement.names) == 1
            and statement.names[0].asname is None
            and statement.module == f"{module.__name__}.{statement.names[0].name}"
        }
        tree.body = [statement for statement in tree.body if statement not in skipped]
        vars(module)[_SKIPPED] = frozenset(skipped.values())
        module.__class__ = _CcxtPackage
        exec(compile(tree, self.path, "exec"), vars(module))  # noqa: S102 - statements of CCXT


class _CcxtPackage(ModuleType):
    """A package of CCXT whose skipped names (`binance`, `kraken`, ...) are loaded at first use."""

    def __getattr__(self, name: str) -> Any:
        """Return the class of an exchange; Python calls this where the attribute is not set yet."""
        if name in vars(self)[_SKIPPED]:
            value = getattr(importlib.import_module(f"{self.__name__}.{name}"), name)
            setattr(self, name, value)
            return value
        if name == "__all__":
            # `from ccxt.pro import *` takes all public names, because ccxt.pro has no __all__.
            return [public for public in dir(self) if not public.startswith("_")]
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; instead of the module of an exchange, set its class.

        After an import of the module `ccxt.binance` Python sets `ccxt.binance` to the module. In a
        plain import CCXT's `from ccxt.binance import binance` then sets it to the class.
        """
        if name in vars(self)[_SKIPPED] and isinstance(value, ModuleType):
            value = getattr(value, name)
        super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        """Return the names that a plain import has."""
        return sorted({*super().__dir__(), *vars(self)[_SKIPPED]} - {_SKIPPED})
