"""Settings of a freqtrade strategy file that have no effect here; each result names them."""

import ast
from collections.abc import Iterator
from typing import Any, Final

from onetape.core.errors import ConfigurationError
from onetape.strategies.freqtrade.interface_names import WITHOUT_EFFECT
from onetape.strategies.freqtrade.source import FreqtradeClass

#: Values with which a setting changes nothing in freqtrade either.
_DEFAULTS: Final[dict[str, Any]] = {
    "process_only_new_candles": True,
    "max_entry_position_adjustment": -1,
}
_PAGE: Final = "docs/freqtrade.md#settings-without-effect"


def format_settings_without_effect(found: FreqtradeClass) -> str:
    """Return the settings of a class that have no effect here, with lines; empty without any."""
    named = sorted(set(_iterate_settings_without_effect(found)))
    if not named:
        return ""
    texts = ", ".join(f"{name} (line {line})" for line, name in named)
    return f"without effect here, of {found.path.name}: {texts}; {_PAGE} has what counts instead"


def _iterate_settings_without_effect(found: FreqtradeClass) -> Iterator[tuple[int, str]]:
    """Yield line and name of each setting."""
    for name, attribute in found.attributes.items():
        if name in WITHOUT_EFFECT and not _is_default(found, name):
            yield attribute.line, name
    for body in found.bodies:
        for node in body.body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name in WITHOUT_EFFECT:
                yield node.lineno, node.name


def _is_default(found: FreqtradeClass, name: str) -> bool:
    try:
        value = found.read_value(name, None)
    except ConfigurationError:
        # Written as an expression, whose value is unknown without running it.
        return False
    return value == _DEFAULTS[name] if name in _DEFAULTS else not value
