"""The strategy classes of a freqtrade file, read from its syntax tree without running it."""

import ast
from collections.abc import Container
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from onetape.core.errors import ConfigurationError, UsageError
from onetape.core.message_text import suggest_name

#: Name of the base class of every freqtrade strategy.
BASE_CLASS: Final = "IStrategy"


class Attribute(Struct, frozen=True):
    """A value that the body of a class gives to a name."""

    line: int
    """Line number in the file."""
    node: ast.expr
    """Syntax tree of the value."""


class FreqtradeClass(Struct, frozen=True):
    """A strategy class of a file, with what it inherits from other classes of the file."""

    path: Path
    """The file."""
    name: str
    """Name of the class."""
    line: int
    """Line number of the class."""
    attributes: dict[str, Attribute]
    """Attributes that the class bodies set, by name."""
    methods: dict[str, ast.FunctionDef]
    """Methods of the class by name."""
    bodies: tuple[ast.ClassDef, ...]
    """The class and those of its base classes that the file holds."""
    module: ast.Module
    """Syntax tree of the whole file."""
    base_names: frozenset[str]
    """Names that the file has for freqtrade's base class."""

    def place(self, line: int) -> str:
        """Return file and line for an error."""
        return f"strategy file {self.path}, line {line}"

    def read_value(self, name: str, default: Any) -> Any:
        """Return the value of an attribute that is written as a plain value.

        Args:
            name: Name of the attribute.
            default: Returned where the class does not give the attribute a value.

        Raises:
            ConfigurationError: the value is written as something else than numbers, texts, lists
                and dicts of them.
        """
        found = self.attributes.get(name)
        if found is None:
            return default
        try:
            return _evaluate_constant(found.node, self.attributes)
        except (ValueError, TypeError, ZeroDivisionError, OverflowError) as error:
            raise ConfigurationError(
                f"{self.place(found.line)}: {name} cannot be read without running the file; write "
                "it as plain numbers"
            ) from error


def is_freqtrade_file(text: bytes) -> bool:
    """Return whether a file may hold a freqtrade strategy: the text names the base class."""
    return BASE_CLASS.encode() in text and b"freqtrade" in text


def parse_freqtrade_classes(path: Path, text: bytes) -> dict[str, FreqtradeClass]:
    """Return the freqtrade strategies of a file by name; none where it holds none.

    Args:
        path: The file, for errors.
        text: Content of the file.

    Raises:
        ConfigurationError: the file is no Python.
    """
    if not is_freqtrade_file(text):
        return {}
    try:
        module = ast.parse(text)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        raise ConfigurationError(
            f"strategy file {path}, line {line}: {getattr(error, 'msg', error)}; correct the file"
        ) from error
    classes = {node.name: node for node in module.body if isinstance(node, ast.ClassDef)}
    names = _collect_base_class_names(module) - classes.keys()
    found: dict[str, FreqtradeClass] = {}
    for name, node in classes.items():
        bodies = _collect_bodies(node, classes)
        if any(is_base_class(base, names) for body in bodies for base in body.bases):
            found[name] = _make_freqtrade_class(path, node, bodies, module, names)
    return found


def is_base_class(base: ast.expr, names: Container[str]) -> bool:
    """Return whether a base is freqtrade's base class.

    Args:
        base: A base of a class, as it is written.
        names: Names that the file has for the base class.
    """
    match base:
        case ast.Name(name):
            return name in names
        case ast.Attribute(_, name):
            # freqtrade.strategy.IStrategy, under any name of the module in the file.
            return name == BASE_CLASS
        case _:
            return False


def _collect_base_class_names(module: ast.Module) -> frozenset[str]:
    """Return the names that a file has for the base class: `import IStrategy as Base`."""
    # `from freqtrade.strategy import *` names nothing.
    names = {BASE_CLASS}
    for node in ast.walk(module):
        match node:
            case ast.ImportFrom(_, imported):
                names |= {one.asname for one in imported if one.name == BASE_CLASS and one.asname}
            case ast.Assign(targets, value) if is_base_class(value, names):
                names |= {one.id for one in targets if isinstance(one, ast.Name)}
            case _:
                pass
    return frozenset(names)


def find_freqtrade_class(path: Path, text: bytes, class_name: str | None) -> FreqtradeClass | None:
    """Return one freqtrade strategy of a file, or None where the file holds none.

    Args:
        path: Path of the file.
        text: Content of the file.
        class_name: Name of the class; None: the only one, or the one called like the file.

    Raises:
        UsageError: the file has several, or none of that name.
        ConfigurationError: the file is no Python.
    """
    found = parse_freqtrade_classes(path, text)
    if not found:
        return None
    if class_name is None and len(found) == 1:
        return next(iter(found.values()))
    name = path.stem if class_name is None else class_name
    if name in found:
        return found[name]
    names = ", ".join(sorted(found))
    if class_name is None:
        raise UsageError(
            f"{path} holds several freqtrade strategies ({names}); name one: {path}:Class"
        )
    hint = suggest_name(name, found)
    raise UsageError(f"{path} has no freqtrade strategy {name!r}{hint} (it has: {names})")


def _collect_bodies(
    node: ast.ClassDef, classes: dict[str, ast.ClassDef]
) -> tuple[ast.ClassDef, ...]:
    """Return a class and its base classes in the same file, each once, nearest first."""
    found, waiting = list[ast.ClassDef](), [node]
    while waiting:
        body = waiting.pop(0)
        if body in found:
            continue
        found.append(body)
        names = [base.id for base in body.bases if isinstance(base, ast.Name)]
        waiting += [classes[name] for name in names if name in classes]
    return tuple(found)


def _make_freqtrade_class(
    path: Path,
    node: ast.ClassDef,
    bodies: tuple[ast.ClassDef, ...],
    module: ast.Module,
    base_names: frozenset[str],
) -> FreqtradeClass:
    """Return a strategy class with the attributes and methods that it inherits."""
    attributes: dict[str, Attribute] = {}
    methods: dict[str, ast.FunctionDef] = {}
    for body in reversed(bodies):
        for statement in body.body:
            if isinstance(statement, ast.FunctionDef):
                methods[statement.name] = statement
            attributes.update(_collect_assignments(statement))
    return FreqtradeClass(
        path, node.name, node.lineno, attributes, methods, bodies, module, base_names
    )


def _collect_assignments(statement: ast.stmt) -> dict[str, Attribute]:
    if isinstance(statement, ast.AnnAssign) and statement.value is not None:
        targets, value = [statement.target], statement.value
    elif isinstance(statement, ast.Assign):
        targets, value = statement.targets, statement.value
    else:
        return {}
    names = [target.id for target in targets if isinstance(target, ast.Name)]
    return {name: Attribute(statement.lineno, value) for name in names}


def _evaluate_constant(node: ast.expr, names: dict[str, Attribute]) -> Any:
    """Return the value of plain numbers, texts, lists, dicts and sums of them."""
    match node:
        case ast.BinOp(left, operator, right):
            return _combine_constants(
                _evaluate_constant(left, names), operator, _evaluate_constant(right, names)
            )
        case ast.UnaryOp(ast.USub(), operand):
            return -_evaluate_constant(operand, names)
        case ast.Name(name) if name in names:
            rest = {key: value for key, value in names.items() if key != name}
            return _evaluate_constant(names[name].node, rest)
        case ast.Dict(keys, values):
            if any(key is None for key in keys):
                raise ValueError(ast.dump(node))
            pairs = zip(keys, values, strict=True)
            return {
                _evaluate_constant(key, names): _evaluate_constant(one, names)
                for key, one in pairs
                if key
            }
        case ast.List(items) | ast.Tuple(items):
            return [_evaluate_constant(item, names) for item in items]
        case _:
            return ast.literal_eval(node)


def _combine_constants(left: Any, operator: ast.operator, right: Any) -> Any:
    match operator:
        case ast.Add():
            return left + right
        case ast.Sub():
            return left - right
        case ast.Mult():
            return left * right
        case ast.Div():
            return left / right
        case _:
            raise ValueError(ast.dump(operator))
