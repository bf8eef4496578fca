"""Search for code of a freqtrade strategy that depends on the pair's name.

Such code is refused, because a strategy does not know its symbol here.
"""

import ast
from collections.abc import Iterator
from typing import Final

_CAUSE: Final = "a strategy does not know its symbol"
#: Methods of a text whose result depends on the name.
_TEXT_METHODS: Final = frozenset(
    ("startswith", "endswith", "split", "partition", "rpartition", "replace", "removesuffix")
)


def iterate_pair_name_faults(function: ast.FunctionDef) -> Iterator[tuple[int, str, str]]:
    """Yield line, text and cause of each use of `metadata["pair"]` whose result depends on it.

    The pair as a key of a dict of the strategy, or as an argument, is allowed.
    """
    names = {
        target.id
        for node in ast.walk(function)
        if isinstance(node, ast.Assign) and _is_pair(node.value, frozenset())
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    pairs = frozenset(names)
    for node in ast.walk(function):
        match node:
            case ast.Compare(left, operators, others):
                sides = [left, *others]
                if any(_is_pair(side, pairs) for side in sides) and any(
                    isinstance(operator, (ast.Eq, ast.NotEq)) or _is_list(other)
                    for operator, other in zip(operators, others, strict=True)
                ):
                    yield node.lineno, ast.unparse(node), _CAUSE
            case ast.Call(ast.Attribute(value, name)) if name in _TEXT_METHODS:
                if _is_pair(value, pairs):
                    yield node.lineno, ast.unparse(node), _CAUSE
            case _:
                pass


def _is_pair(node: ast.expr, names: frozenset[str]) -> bool:
    """Return whether an expression is `metadata["pair"]`, or a variable with its value."""
    match node:
        case ast.Subscript(ast.Name("metadata"), ast.Constant("pair")):
            return True
        case ast.Name(name):
            return name in names
        case _:
            return False


def _is_list(node: ast.expr) -> bool:
    return isinstance(node, (ast.List, ast.Tuple, ast.Set))
