"""Search for statements that give a strategy class settings or methods in a form that is not read.

Settings are read from the text of a file before it runs. A setting that comes from another file, or
that running code sets, would be missed; so such statements are refused.
"""

import ast
from collections.abc import Iterator
from typing import Final

from onetape.strategies.freqtrade.interface_names import READ_NAMES
from onetape.strategies.freqtrade.source import FreqtradeClass, is_base_class

_REMEDY_IN_BODY: Final = "write it as NAME = VALUE, or as a method, into the body of the class"
_REMEDY_FOR_BASE: Final = (
    "a base class that is not in this file; copy what the strategy needs of it"
)
_FUNCTION_NODES: Final = (ast.FunctionDef, ast.AsyncFunctionDef)


def iterate_unread_statements(found: FreqtradeClass) -> Iterator[tuple[int, str, str]]:
    """Yield line, name and remedy of each statement that is not read."""
    known = {"object", *found.base_names, *(body.name for body in found.bodies)}
    for body in found.bodies:
        yield from _iterate_unknown_bases(body, known)
        for statement in body.body:
            yield from _iterate_unread_in_body(statement)
        for node in ast.walk(body):
            yield from _iterate_attributes_set_by_code(node)


def _iterate_unknown_bases(body: ast.ClassDef, known: set[str]) -> Iterator[tuple[int, str, str]]:
    for base in body.bases:
        if not is_base_class(base, known):
            yield base.lineno, ast.unparse(base), _REMEDY_FOR_BASE
    for keyword in body.keywords:
        yield body.lineno, ast.unparse(keyword.value), "a class that changes this one"


def _iterate_unread_in_body(statement: ast.stmt) -> Iterator[tuple[int, str, str]]:
    """Yield interface names that a statement of a class body sets in a form that is not read."""
    match statement:
        case ast.FunctionDef():
            return
        case ast.Assign(targets) if all(isinstance(one, ast.Name) for one in targets):
            return
        case ast.AnnAssign():
            return
        case _:
            for node in _iterate_scope(statement):
                for name in _get_bound_names(node):
                    if name in READ_NAMES:
                        yield getattr(node, "lineno", statement.lineno), name, _REMEDY_IN_BODY


def _iterate_scope(node: ast.AST) -> Iterator[ast.AST]:
    """Yield a node and all below it, without the bodies of functions and classes."""
    yield node
    if isinstance(node, (*_FUNCTION_NODES, ast.ClassDef, ast.Lambda)):
        return
    for child in ast.iter_child_nodes(node):
        yield from _iterate_scope(child)


def _get_bound_names(node: ast.AST) -> tuple[str, ...]:
    match node:
        case ast.Name(name, ast.Store() | ast.Del()):
            return (name,)
        case ast.FunctionDef(name) | ast.AsyncFunctionDef(name) | ast.ClassDef(name):
            return (name,)
        case ast.alias(name, other):
            return (other or name,)
        case _:
            return ()


def _iterate_attributes_set_by_code(node: ast.AST) -> Iterator[tuple[int, str, str]]:
    """Yield names that code sets: `self.stoploss = -0.1`, `setattr(self, "stoploss", -0.1)`."""
    match node:
        case ast.Attribute(_, name, ast.Store() | ast.Del()) if name in READ_NAMES:
            yield node.lineno, f"{ast.unparse(node)} = ...", _REMEDY_IN_BODY
        case ast.Call(ast.Name("setattr"), [_, ast.Constant(name), *_]) if name in READ_NAMES:
            yield node.lineno, f"setattr of {name}", _REMEDY_IN_BODY
        case _:
            return
