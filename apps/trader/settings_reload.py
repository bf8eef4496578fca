"""`trader reload`: applies a changed settings file to a running trader, as far as it is safe.

Limits of time hold at once. Costs, order sizes, exits and the number of positions hold for entries
from then on; while a position is open they wait until the account is flat, so that an open trade
keeps its levels, unless `--apply-to-open` was given. Every other change needs a restart, and is
printed.
"""

import contextlib
import json
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec.structs import force_setattr, replace

from onetape.core.errors import OnetapeError
from onetape.core.setting import build_settings_tree, collect_settings
from onetape.core.symbols import parse_spot_symbol
from onetape.engine import StepRules
from onetape.store.sessions import change_session_rules
from trader.account_rules import AccountRules
from trader.session_context import SessionContext
from trader.settings import TraderSettings
from trader.strategy_origin import get_origin_rules

#: Settings whose change holds at once, because they are read at each use.
AT_ONCE: Final = ("max_signal_age_seconds", "strategy_timeout_seconds", "ticker_days")
#: Sections of settings that are rules of an account: costs, sizes and exits.
_OF_RULES: Final = ("account.", "exits.")
#: Reads and checks the settings again; None: the trader was started without a settings file.
_load: Callable[[], TraderSettings] | None = None


@contextlib.contextmanager
def set_settings_loader(load: Callable[[], TraderSettings]) -> Generator[None]:
    """While the block runs, let reloads of this process read the settings by a function.

    Args:
        load: Reads and checks the settings; may raise OnetapeError.
    """
    global _load
    _load = load
    try:
        yield
    finally:
        _load = None


class SettingsReload:
    """Applies changed settings to the sessions of one account; used in the trading thread only."""

    def __init__(
        self, contexts: Sequence[SessionContext], rules: AccountRules, is_flat: Callable[[], bool]
    ) -> None:
        """Initialise with the settings that the sessions have now.

        Args:
            contexts: Context of each symbol's session.
            rules: Rules of the account.
            is_flat: Returns whether no symbol of these sessions has a position.
        """
        self._contexts = contexts
        self._rules = rules
        self._is_flat = is_flat
        self._pending: TraderSettings | None = None
        """Settings whose rules wait until the account is flat."""

    def reload(self, *, applies_to_open: bool) -> list[str]:
        """Read the settings again and apply safe changes; return the lines to print.

        Args:
            applies_to_open: Whether changed rules hold at once, for an open position too.

        Raises:
            StoreError: the rules of a session could not be stored; the rules hold anyway.
        """
        if _load is None:
            return ["reload: this trader was started without a settings file"]
        try:
            new = _load()
        except OnetapeError as error:
            return [f"reload: {error}; nothing is changed"]
        # Rules that wait since an earlier reload are not those of the file now.
        self._pending = None
        old = self._contexts[0].settings
        changes = find_changed_settings(old, new)
        is_live = self._contexts[0].session.mode == "live"
        at_once = {key: text for key, text in changes.items() if key in AT_ONCE}
        of_rules = {key: text for key, text in changes.items() if not is_live and _is_of_rules(key)}
        others = {key: text for key, text in changes.items() if key not in {**at_once, **of_rules}}
        lines: list[str] = []
        if at_once:
            self._set_settings(replace(old, **{key: getattr(new, key) for key in at_once}))
            lines.append(f"reload: {_join_changes(at_once)}")
        if of_rules and (applies_to_open or self._is_flat()):
            self._set_rules(new)
            lines.append(f"reload: {_join_changes(of_rules)}")
        elif of_rules:
            self._pending = new
            lines.append(
                f"reload: {_join_changes(of_rules)}, once no position is open; "
                "an open trade keeps its levels, unless trader reload has --apply-to-open"
            )
        if others:
            lines.append(f"reload: needs a restart of the trader: {_join_changes(others)}")
        return lines or ["reload: the settings have not changed"]

    def apply_pending(self) -> str | None:
        """Apply rules that waited until the account is flat; return the line to print, or None.

        Raises:
            StoreError: as for `reload`.
        """
        if self._pending is None or not self._is_flat():
            return None
        new, self._pending = self._pending, None
        self._set_rules(new)
        return "reload: the changed costs, sizes and exits hold from now on"

    def _set_settings(self, settings: TraderSettings) -> None:
        for context in self._contexts:
            # All parts of a session read the settings from its context at each use.
            force_setattr(context, "settings", settings)

    def _set_rules(self, new: TraderSettings) -> None:
        """Apply the rules of new settings to all sessions, and store them with the sessions."""
        self._pending = None
        old = self._contexts[0].settings
        self._set_settings(replace(old, account=new.account, max_open_trades=new.max_open_trades))
        for context in self._contexts:
            rules = replace(
                new.account, cash=context.rules.cash, trading_rules=context.rules.trading_rules
            )
            force_setattr(context, "rules", rules)
        symbols = [context.key.symbol for context in self._contexts]
        first = self._contexts[0]
        self._rules.rules = StepRules.from_account(
            first.rules,
            symbols,
            new.max_open_trades,
            candle_seconds=first.timeframe.average_seconds,
        )
        self._rules.most_positions = new.max_open_trades
        stored = make_session_rules(self._contexts[0].settings)
        for context in self._contexts:
            rules = {**stored, **get_origin_rules(context.session.rules)}
            change_session_rules(context.store, context.session.session, rules)


def make_session_rules(settings: TraderSettings) -> dict[str, Any]:
    """Return the settings of order size, costs and exits, as the column `sessions.rules` has them.

    The order of several symbols is included: it decides between entries at one moment.
    """
    tree = build_settings_tree(settings)
    rules = {**tree["account"], **tree["exits"]}
    if settings.max_open_trades is not None:
        rules["max_open_trades"] = settings.max_open_trades
    symbols = [one.symbol for one in settings.symbols] or settings.symbol.split(",")
    if len(symbols) > 1:
        rules["symbols"] = [parse_spot_symbol(one.strip()) for one in symbols]
    del rules["cash"]
    return msgspec.to_builtins(rules, str_keys=True)


def find_changed_settings(old: TraderSettings, new: TraderSettings) -> dict[str, str]:
    """Return each setting that differs, as `key old -> new`, by its key."""
    before, after = _collect_values(old), _collect_values(new)
    return {
        key: _format_symbol_changes(old, new)
        if key == "symbols"
        else f"{key} {_format_value(before[key])} -> {_format_value(after[key])}"
        for key in before
        if before[key] != after[key]
    }


def _format_symbol_changes(old: TraderSettings, new: TraderSettings) -> str:
    """Return a text with symbols of the list that are new, gone, or have another strategy."""
    before = {one.symbol: one for one in old.symbols}
    after = {one.symbol: one for one in new.symbols}
    parts = [
        f"{symbol} {'changed' if symbol in after else 'removed'}"
        for symbol in before
        if after.get(symbol) != before[symbol]
    ]
    parts += [f"{symbol} added" for symbol in after if symbol not in before]
    return f"symbols ({', '.join(parts) or 'their order changed'})"


def _collect_values(settings: TraderSettings) -> dict[str, Any]:
    tree = build_settings_tree(settings)
    return {key: _get_value(tree, key) for key in collect_settings(TraderSettings)}


def _get_value(tree: Mapping[str, Any], key: str) -> Any:
    value: Any = tree
    for part in key.split("."):
        value = value[part]
    return value


def _is_of_rules(key: str) -> bool:
    return key == "max_open_trades" or (key.startswith(_OF_RULES) and key != "account.cash")


def _join_changes(changes: Mapping[str, str]) -> str:
    return ", ".join(changes.values())


def _format_value(value: object) -> str:
    if value is None:
        return "none"
    return str(value) if isinstance(value, (str, int, float)) else json.dumps(value, default=str)
