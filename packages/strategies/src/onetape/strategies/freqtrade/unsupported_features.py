"""Refusal of freqtrade features without an equivalent here, by line, before the file runs."""

import ast
from collections.abc import Iterator, Mapping
from typing import Final

from onetape.core.errors import ConfigurationError
from onetape.strategies.freqtrade.imported_names import (
    PACKAGES,
    collect_imported_names,
    find_dotted_name,
    get_top_package,
)
from onetape.strategies.freqtrade.interface_names import METHODS, RUNTIME_ATTRIBUTES, SWITCHED
from onetape.strategies.freqtrade.pair_names import iterate_pair_name_faults
from onetape.strategies.freqtrade.source import FreqtradeClass
from onetape.strategies.freqtrade.unread_statements import iterate_unread_statements

#: Methods of `self.dp` that exist here.
_DATA_PROVIDER: Final = frozenset({"get_pair_dataframe", "current_whitelist"})
#: Objects of freqtrade's database.
_DATABASE: Final = frozenset({"Trade", "Order", "PairLocks", "LocalTrade"})

#: Line, name and cause of a feature that is refused.
_Fault = tuple[int, str, str]


def check_supported(found: FreqtradeClass) -> None:
    """Refuse a strategy that uses a feature without an equivalent here.

    Raises:
        ConfigurationError: names every such feature, with its line.
    """
    faults = sorted(set(_iterate_faults(found)))
    if faults:
        text = "; ".join(f"line {line}: {name} ({what})" for line, name, what in faults)
        raise ConfigurationError(
            f"strategy file {found.path} cannot run here: {text}; take it out of the file, or "
            "write the strategy with what there is (docs/freqtrade.md)"
        )


def _iterate_faults(found: FreqtradeClass) -> Iterator[_Fault]:
    """Yield line, name and reason of each feature that is not supported."""
    for name, what in METHODS.items():
        method = found.methods.get(name)
        if method is not None and not _is_empty(method) and not _is_switched_off(found, name):
            yield method.lineno, name, what
        elif name in found.attributes:
            yield found.attributes[name].line, name, what
    for switch, (name, what) in SWITCHED.items():
        if found.read_value(switch, default=False):
            method = found.methods.get(name)
            attribute = found.attributes[switch]
            yield attribute.line if method is None else method.lineno, name, what
    names = collect_imported_names(found.module)
    for statement in found.module.body:
        is_other = isinstance(statement, ast.ClassDef) and statement not in found.bodies
        if not is_other:
            for node in ast.walk(statement):
                yield from _iterate_node_faults(node, names)
    yield from iterate_unread_statements(found)
    yield from _iterate_import_faults(found.module)


def _is_switched_off(found: FreqtradeClass, name: str) -> bool:
    if name != "adjust_trade_position":
        return False
    return not found.read_value("position_adjustment_enable", default=False)


def _is_empty(method: ast.FunctionDef) -> bool:
    """Return whether a method has no code: a docstring, `pass` or `...` alone."""
    return all(
        isinstance(statement, ast.Pass)
        or (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant))
        for statement in method.body
    )


def _iterate_node_faults(node: ast.AST, names: Mapping[str, str]) -> Iterator[_Fault]:
    """Yield the faults of one node of the syntax tree."""
    match node:
        case ast.Attribute(ast.Attribute(ast.Name("self"), "dp"), name):
            if name not in _DATA_PROVIDER:
                yield node.lineno, f"self.dp.{name}", "other data than candles of pairs"
        case ast.Attribute(ast.Name("self"), name) if name in RUNTIME_ATTRIBUTES:
            yield node.lineno, f"self.{name}", RUNTIME_ATTRIBUTES[name]
        case ast.Attribute():
            yield from _iterate_attribute_faults(node, names)
        case ast.FunctionDef():
            for decorator in node.decorator_list:
                yield from _iterate_decorator_faults(decorator, names)
            yield from _iterate_inner_imports(node)
            yield from iterate_pair_name_faults(node)
        case ast.ClassDef():
            yield from _iterate_inner_imports(node)
        case _:
            return


def _iterate_attribute_faults(node: ast.Attribute, names: Mapping[str, str]) -> Iterator[_Fault]:
    """Yield an attribute of a part of freqtrade that Onetape does not implement."""
    from onetape.strategies.freqtrade.import_modules import find_offered_names

    owner = find_dotted_name(node.value, names)
    if owner is None:
        return
    if owner.rpartition(".")[2] in _DATABASE:
        yield node.lineno, ast.unparse(node), "freqtrade's database"
        return
    offered = find_offered_names(owner)
    if offered is not None and node.attr not in offered:
        yield node.lineno, ast.unparse(node), "not written here yet"


def _iterate_inner_imports(node: ast.FunctionDef | ast.ClassDef) -> Iterator[_Fault]:
    """Yield imports of freqtrade inside functions and classes, which run after the file."""
    for inner in ast.walk(node):
        match inner:
            case ast.Import(imported):
                modules = [name.name for name in imported]
            case ast.ImportFrom(source):
                modules = [source or ""]
            case _:
                continue
        if any(get_top_package(module) in PACKAGES for module in modules):
            yield (
                inner.lineno,
                "import inside of a class or function",
                "write imports at the top of the file",
            )


def _iterate_decorator_faults(node: ast.expr, names: Mapping[str, str]) -> Iterator[_Fault]:
    if not isinstance(node, ast.Call):
        return
    full = find_dotted_name(node.func, names) or ast.unparse(node.func)
    if full.rpartition(".")[2] != "informative":
        return
    given = {keyword.arg: keyword.value for keyword in node.keywords}
    if given.get("candle_type") is not None:
        yield node.lineno, "@informative with candle_type", "candles of futures"


def _iterate_import_faults(module: ast.Module) -> Iterator[_Fault]:
    """Yield imports of parts of freqtrade that Onetape does not implement."""
    from onetape.strategies.freqtrade.import_modules import find_offered_names, is_replaced

    for node in ast.walk(module):
        match node:
            case ast.Import(imported):
                for alias in imported:
                    if is_replaced(alias.name) and find_offered_names(alias.name) is None:
                        yield (
                            node.lineno,
                            f"import {alias.name}",
                            _explain_missing_module(alias.name),
                        )
            case ast.ImportFrom(str(source), imported, 0) if is_replaced(source):
                offered = find_offered_names(source)
                for alias in imported:
                    if offered is None or (alias.name != "*" and alias.name not in offered):
                        text = f"from {source} import {alias.name}"
                        yield node.lineno, text, _explain_missing_module(source)
            case _:
                pass


def _explain_missing_module(module: str) -> str:
    """Return the reason why a module cannot be imported."""
    is_package = get_top_package(module) == "technical" and module != "technical.qtpylib"
    return "install it with `uv pip install technical`" if is_package else "not written here"
