"""Conditions between parameters, such as `fast < slow`, that a combination must meet.

A condition (`--constraint`) is written as Python, parsed to a syntax tree and evaluated node by
node, so that it cannot run other code.
"""

import ast
import operator
from collections.abc import Callable, Iterable, Mapping
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
    """A comparison of parameters, numbers and texts; `parse_constraint` makes it."""

    text: str
    """The condition as it was given."""
    tree: ast.Compare
    """Syntax tree of the condition, with the nodes that `_evaluate_node` handles only."""
    names: tuple[str, ...]
    """Names of the parameters in the condition."""

    def check_names(self, names: Iterable[str]) -> None:
        """Check that each parameter of the condition exists.

        Args:
            names: Names of all parameters.

        Raises:
            UsageError: a parameter is unknown.
        """
        known = [*names]
        for name in self.names:
            if name not in known:
                hint = suggest_name(name, known)
                raise UsageError(f"--constraint {self.text!r}: no parameter {name!r}{hint}")

    def is_met(self, parameters: Mapping[str, Any]) -> bool:
        """Return whether a combination meets the condition.

        A division by zero does not, nor does a comparison of a text with a number.
        """
        try:
            return bool(_evaluate_node(self.tree, parameters))
        except (TypeError, ZeroDivisionError):
            return False


def parse_constraint(text: str) -> Constraint:
    """Return the constraint of a text such as `fast * 2 < slow`.

    Args:
        text: Comparisons of parameters, numbers and texts, with + - * / and brackets.

    Raises:
        UsageError: the text is no such comparison.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError as error:
        raise _make_constraint_error(text) from error
    if not isinstance(tree, ast.Compare):
        raise _make_constraint_error(text)
    return Constraint(text.strip(), tree, tuple(_collect_names(tree, text)))


def _collect_names(node: ast.expr, text: str) -> list[str]:
    """Return the names of the parameters of a condition, each as often as it occurs.

    Raises:
        UsageError: the syntax tree has another node than comparisons and arithmetic.
    """
    name = _get_name(node)
    if name is not None:
        return [name]
    match node:
        case ast.Compare() if all(type(comparison) in _COMPARISONS for comparison in node.ops):
            operands = [node.left, *node.comparators]
        case ast.BinOp() if type(node.op) in _OPERATIONS:
            operands = [node.left, node.right]
        case ast.UnaryOp(op=ast.USub()):
            operands = [node.operand]
        case ast.Constant(value=int() | float() | str()):
            operands = []
        case _:
            raise _make_constraint_error(text)
    return [name for operand in operands for name in _collect_names(operand, text)]


def _get_name(node: ast.expr) -> str | None:
    """Return the name of a parameter: `fast`, or `exits.stop_loss`; None: the node is no name."""
    match node:
        case ast.Name():
            return node.id
        case ast.Attribute():
            section = _get_name(node.value)
            return None if section is None else f"{section}.{node.attr}"
        case _:
            return None


def _evaluate_node(node: ast.expr, parameters: Mapping[str, Any]) -> Any:
    """Return the value of a syntax tree that `_collect_names` has accepted."""
    match node:
        case ast.Compare():
            operands = (node.left, *node.comparators)
            values = [_evaluate_node(operand, parameters) for operand in operands]
            pairs = zip(node.ops, values, values[1:], strict=False)
            return all(_COMPARISONS[type(op)](left, right) for op, left, right in pairs)
        case ast.BinOp():
            left, right = (
                _evaluate_node(node.left, parameters),
                _evaluate_node(node.right, parameters),
            )
            return _OPERATIONS[type(node.op)](left, right)
        case ast.UnaryOp():
            return -_evaluate_node(node.operand, parameters)
        case ast.Name() | ast.Attribute():
            return parameters[_get_name(node) or ""]
        case ast.Constant():
            return node.value
        case _:
            raise _make_constraint_error(ast.unparse(node))


def _make_constraint_error(text: str) -> UsageError:
    return UsageError(
        f"--constraint {text!r} must compare parameters and numbers, such as 'fast < slow' or "
        "'slow >= fast * 2'"
    )
