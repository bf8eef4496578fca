"""Names under which a strategy file imports parts of freqtrade."""

import ast
from collections.abc import Mapping
from typing import Final

#: Packages of freqtrade that a strategy file may import.
PACKAGES: Final = frozenset({"freqtrade", "technical"})


def get_top_package(module: str) -> str:
    """Return the first part of a module's name."""
    return module.partition(".")[0]


def collect_imported_names(module: ast.Module) -> dict[str, str]:
    """Return the dotted name of each imported part of freqtrade, by its name in the file.

    `import freqtrade.strategy as fs` gives {"fs": "freqtrade.strategy"}, and
    `from freqtrade.persistence import Trade as T` {"T": "freqtrade.persistence.Trade"}.
    """
    found: dict[str, str] = {}
    for node in ast.walk(module):
        match node:
            case ast.Import(imported):
                for alias in imported:
                    if alias.asname is not None:
                        found[alias.asname] = alias.name
                    else:
                        found[get_top_package(alias.name)] = get_top_package(alias.name)
            case ast.ImportFrom(str(source), imported, 0):
                found.update(
                    {alias.asname or alias.name: f"{source}.{alias.name}" for alias in imported}
                )
            case _:
                pass
    return {name: full for name, full in found.items() if get_top_package(full) in PACKAGES}


def find_dotted_name(node: ast.AST, names: Mapping[str, str]) -> str | None:
    """Return the dotted name of an expression such as `fs.informative`; None: no part of freqtrade.

    Args:
        node: The expression.
        names: Names that `collect_imported_names` found.
    """
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name) or node.id not in names:
        return None
    return ".".join([names[node.id], *reversed(parts)])
