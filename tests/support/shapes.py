"""Shape of a JSON document, without its values."""

from typing import Any


def compute_shape(value: Any) -> Any:
    """Return a value's keys and types: {"a": "str", "b": [["int"]]}; a list by its first item."""
    if isinstance(value, dict):
        items: Any = value.items()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - any JSON
        return {name: compute_shape(item) for name, item in items}
    if isinstance(value, list):
        return [compute_shape(value[0])] if value else []  # pyright: ignore[reportUnknownArgumentType] - any JSON
    return type(value).__name__
