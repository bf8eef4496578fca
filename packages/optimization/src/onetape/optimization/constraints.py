"""Conditions between parameters, such as `fast < slow`, that a combination must meet."""

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any, Final

from msgspec import Struct

from onetape.core.errors import UsageError
from onetape.core.message_text import suggest_name


def _divide(dividend: Any, divisor: Any) -> Any:
    return dividend / divisor


_COMPARISONS: Final[dict[type[ast.cmpop], Callable[[Any, Any], bool]]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_OPERATIONS: Final[dict[type[ast.operator], Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: _divide,
}


class Constraint(Struct, frozen=True):
    """A comparison of parameters, numbers and texts."""

    text: str

    def is_met(self, parameters: Mapping[str, Any]) -> bool:
        """Return whether a combination meets the condition.

        A division by zero does not, nor does a comparison of a text with a number.
        """
        try:
            return bool(_evaluate_node(ast.parse(self.text, mode="eval").body, parameters))
        except (TypeError, ZeroDivisionError):
            return False


def parse_constraint(text: str, names: Mapping[str, Any] | None = None) -> Constraint:
    """Return the constraint of a text such as `fast * 2 < slow`.

    Args:
        text: Comparisons of parameters, numbers and texts, with + - * / and brackets.
        names: Names of all parameters; None: not checked.

    Raises:
        UsageError: the text is no such comparison, or a parameter is unknown.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError as error:
        raise _make_constraint_error(text) from error
    if not isinstance(tree, ast.Compare):
        raise _make_constraint_error(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and names is not None and node.id not in names:
            raise UsageError(
                f"--constraint {text!r}: no parameter {node.id!r}{suggest_name(node.id, names)}"
            )
    _check(tree, text)
    return Constraint(text.strip())


def _check(node: ast.expr, text: str) -> None:
    match node:
        case ast.Compare() if all(type(one) in _COMPARISONS for one in node.ops):
            inner = [node.left, *node.comparators]
        case ast.BinOp() if type(node.op) in _OPERATIONS:
            inner = [node.left, node.right]
        case ast.UnaryOp(op=ast.USub()):
            inner = [node.operand]
        case ast.Name() | ast.Constant(value=int() | float() | str()):
            inner = []
        case _:
            raise _make_constraint_error(text)
    for one in inner:
        _check(one, text)


def _evaluate_node(node: ast.expr, parameters: Mapping[str, Any]) -> Any:
    match node:
        case ast.Compare():
            values = [_evaluate_node(one, parameters) for one in (node.left, *node.comparators)]
            pairs = zip(node.ops, values, values[1:], strict=False)
            return all(_COMPARISONS[type(one)](left, right) for one, left, right in pairs)
        case ast.BinOp():
            left, right = (
                _evaluate_node(node.left, parameters),
                _evaluate_node(node.right, parameters),
            )
            return _OPERATIONS[type(node.op)](left, right)
        case ast.UnaryOp():
            return -_evaluate_node(node.operand, parameters)
        case ast.Name():
            return parameters[node.id]
        case ast.Constant():
            return node.value
        case _:
            raise _make_constraint_error(ast.unparse(node))


def _make_constraint_error(text: str) -> UsageError:
    return UsageError(
        f"--constraint {text!r} must compare parameters and numbers, such as 'fast < slow' or "
        "'slow >= fast * 2'"
    )
