"""What a freqtrade strategy uses that has no equivalent here, with its line, before it runs."""

import ast
from collections.abc import Iterator
from typing import Final

from onetape.core.errors import ConfigurationError
from onetape.strategies.freqtrade import qtpylib
from onetape.strategies.freqtrade.interface_names import METHODS, SWITCHED
from onetape.strategies.freqtrade.source import FreqtradeClass
from onetape.strategies.freqtrade.unread_statements import unread_statements

#: What `self.dp` offers here.
_DATA_PROVIDER: Final = frozenset({"get_pair_dataframe", "current_whitelist"})
#: Attributes of a strategy that hold the state of a running freqtrade.
_RUNNING: Final = {"wallets": "the balance of the account", "config": "freqtrade's configuration"}
#: Objects of freqtrade's database.
_DATABASE: Final = frozenset({"Trade", "Order", "PairLocks", "LocalTrade"})
_PACKAGES: Final = frozenset({"freqtrade", "technical"})


def check_supported(found: FreqtradeClass) -> None:
    """Refuse a strategy that uses what has no equivalent here.

    Raises:
        ConfigurationError: names everything that the strategy uses so, with its line.
    """
    faults = sorted(set(_faults(found)))
    if faults:
        text = "; ".join(f"line {line}: {name} ({what})" for line, name, what in faults)
        raise ConfigurationError(
            f"strategy file {found.path} cannot run here: {text}; take it out of the file, or "
            "write the strategy with what there is (docs/freqtrade.md)"
        )


def _faults(found: FreqtradeClass) -> Iterator[tuple[int, str, str]]:
    for name, what in METHODS.items():
        method = found.methods.get(name)
        if method is not None and not _is_empty(method) and not _is_switched_off(found, name):
            yield method.lineno, name, what
        elif name in found.attributes:
            yield found.attributes[name].line, name, what
    for switch, (name, what) in SWITCHED.items():
        if found.value(switch, default=False):
            method = found.methods.get(name)
            attribute = found.attributes[switch]
            yield attribute.line if method is None else method.lineno, name, what
    for body in found.bodies:
        for node in ast.walk(body):
            yield from _node_faults(node)
    yield from unread_statements(found)
    yield from _import_faults(found.module)


def _is_switched_off(found: FreqtradeClass, name: str) -> bool:
    if name != "adjust_trade_position":
        return False
    return not found.value("position_adjustment_enable", default=False)


def _is_empty(method: ast.FunctionDef) -> bool:
    """Return whether a method has no code: a docstring, `pass` or `...` alone."""
    return all(
        isinstance(one, ast.Pass)
        or (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant))
        for one in method.body
    )


def _node_faults(node: ast.AST) -> Iterator[tuple[int, str, str]]:
    match node:
        case ast.Attribute(ast.Attribute(ast.Name("self"), "dp"), name):
            if name not in _DATA_PROVIDER:
                yield node.lineno, f"self.dp.{name}", "other data than candles of the traded pair"
        case ast.Attribute(ast.Name("self"), name) if name in _RUNNING:
            yield node.lineno, f"self.{name}", _RUNNING[name]
        case ast.Attribute(ast.Name(name), attribute) if name in _DATABASE:
            yield node.lineno, f"{name}.{attribute}", "freqtrade's database"
        case ast.Attribute(ast.Name("qtpylib"), name) if not hasattr(qtpylib, name):
            yield node.lineno, f"qtpylib.{name}", "not written here yet"
        case ast.Import(names) if any(_top(one.name) in _PACKAGES for one in names):
            yield node.lineno, "import inside of the class", "write imports at the top of the file"
        case ast.ImportFrom(module) if _top(module or "") in _PACKAGES:
            yield node.lineno, "import inside of the class", "write imports at the top of the file"
        case ast.FunctionDef():
            for decorator in node.decorator_list:
                yield from _decorator_faults(decorator)
        case _:
            return


def _decorator_faults(node: ast.expr) -> Iterator[tuple[int, str, str]]:
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
        return
    if node.func.id != "informative":
        return
    given = {one.arg: one.value for one in node.keywords}
    asset = node.args[1] if len(node.args) > 1 else given.get("asset")
    if asset is not None and not (isinstance(asset, ast.Constant) and not asset.value):
        yield node.lineno, "@informative of another pair", "candles of other pairs"
    if given.get("candle_type") is not None:
        yield node.lineno, "@informative with candle_type", "candles of futures"


def _import_faults(module: ast.Module) -> Iterator[tuple[int, str, str]]:
    """Return imports of parts of freqtrade that are not written here."""
    from onetape.strategies.freqtrade.import_modules import offered_names

    for node in ast.walk(module):
        if not isinstance(node, ast.ImportFrom) or _top(node.module or "") != "freqtrade":
            continue
        offered = offered_names(node.module or "")
        for one in node.names:
            if offered is None or (one.name != "*" and one.name not in offered):
                yield node.lineno, f"from {node.module} import {one.name}", "not written here"


def _top(module: str) -> str:
    return module.partition(".")[0]
