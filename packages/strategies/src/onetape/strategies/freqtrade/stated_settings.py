"""The settings that a freqtrade strategy file states: timeframe, stops, targets, cooldown.

The settings are read from the text of the file, which does not run. freqtrade's ratios become the
settings of docs/rules.md.
"""

import math
from pathlib import Path
from typing import Any, Final, cast

from msgspec import Struct

from onetape.core.errors import ConfigurationError, UsageError, name_settings
from onetape.core.timeframes import Timeframe
from onetape.strategies.freqtrade.settings_without_effect import format_settings_without_effect
from onetape.strategies.freqtrade.source import (
    FreqtradeClass,
    find_freqtrade_class,
    is_freqtrade_file,
)

#: Ratio in `minimal_roi` with which freqtrade exits at the market price after the row's minutes.
_EXIT_AT_MARKET: Final = -1
#: `trailing_stop_positive_offset` where a file states none.
_DEFAULT_OFFSET: Final = 0
#: Duration in freqtrade of a CooldownPeriod that states none.
_DEFAULT_COOLDOWN_MINUTES: Final = 60


class StatedSettings(Struct, frozen=True):
    """Settings of a strategy file by dotted key, and where each is stated."""

    path: Path
    """The strategy file."""
    values: dict[str, Any]
    """Values by dotted key, such as `exits.stop_loss`."""
    lines: dict[str, int]
    """Line number of each value in the file, by dotted key."""
    without_effect: str
    """Settings of the file that have no effect here, as a sentence; empty without any."""

    def place(self, key: str) -> str:
        """Return file and line of a setting."""
        return f"strategy file {self.path}, line {self.lines.get(key, 1)}"


def read_settings_of_file(path: Path, class_name: str | None) -> StatedSettings | None:
    """Return the settings that a strategy file states; None where it is no freqtrade strategy.

    Args:
        path: The file; the result is None where it cannot be read (loading reports the error).
        class_name: Name of the class; None: the only one of the file.

    Raises:
        UsageError: the file does not hold that class.
        ConfigurationError: a value cannot be used; names file and line.
    """
    try:
        text = path.read_bytes()
    except (OSError, ValueError):
        return None
    if not is_freqtrade_file(text):
        return None
    found = find_freqtrade_class(path, text, class_name)
    return None if found is None else read_settings_of_class(found)


def read_settings_of_class(found: FreqtradeClass) -> StatedSettings:
    """Return the settings that a class states; errors as in `read_settings_of_file`."""
    reader = _Reader(found)
    reader.read_timeframe()
    reader.read_stop_loss()
    reader.read_targets()
    reader.read_trailing_stop()
    reader.read_exit_profit()
    reader.read_protections()
    reader.read_max_open_trades()
    # freqtrade enters on every candle with a signal while no trade is open.
    reader.take("account.reentry", "while_signal", "timeframe")
    return StatedSettings(
        found.path, reader.values, reader.lines, format_settings_without_effect(found)
    )


def check_timeframe(used: str, stated: str, place: str) -> None:
    """Refuse candles of another timeframe than the one that a strategy file states.

    The file's minutes become numbers of candles of its timeframe, and its code merges candles of
    higher timeframes by that timeframe; with other candles both would be wrong.

    Args:
        used: Timeframe of the candles.
        stated: Timeframe that the file states.
        place: File and line of the setting.

    Raises:
        UsageError: the timeframes differ.
    """
    with name_settings("timeframe"):
        stated_timeframe, other = Timeframe.parse(stated), Timeframe.parse(used)
        if (stated_timeframe.seconds, stated_timeframe.is_month) != (other.seconds, other.is_month):
            raise UsageError(
                f"timeframe must be {stated}, which {place} states and counts its minutes in, "
                f"found {used}; give {stated}, or write {used} into the file"
            )


class _Reader:
    """Turns attributes of a class into settings."""

    def __init__(self, found: FreqtradeClass) -> None:
        """Begin with no setting."""
        self._found = found
        self.values: dict[str, Any] = {}
        self.lines: dict[str, int] = {}
        self._minutes: float = 0

    def take(self, key: str, value: Any, attribute: str) -> None:
        """Store a setting and the line of the attribute that it follows from."""
        self.values[key] = value
        self.lines[key] = self._find_line(attribute)

    def read_timeframe(self) -> None:
        """Read `timeframe`."""
        name = "timeframe" if "timeframe" in self._found.attributes else "ticker_interval"
        value = self._found.read_value(name, None)
        if not isinstance(value, str):
            raise ConfigurationError(
                f"{self._found.place(self._find_line(name))}: class {self._found.name} states no "
                'timeframe; write timeframe = "5m" into it'
            )
        try:
            self._minutes = Timeframe.parse(value).seconds / 60
        except UsageError as error:
            raise ConfigurationError(
                f"{self._found.place(self._find_line(name))}: {error}"
            ) from error
        self.take("timeframe", value, name)

    def read_stop_loss(self) -> None:
        """Read `stoploss`, a negative fraction of the price; -1 and below never stop."""
        value = self._read_number("stoploss", None)
        if value is not None and not value < 0:
            raise self._make_invalid_value_error("stoploss", "a number under 0, such as -0.1")
        if value is not None and value > -1:
            self.take("exits.stop_loss", -value, "stoploss")

    def read_targets(self) -> None:
        """Read `minimal_roi`: minutes and the profit after both fees."""
        rows = self._read_roi()
        table: dict[int, float] = {}
        for minutes, ratio in sorted(rows.items()):
            candles = math.ceil(minutes / self._minutes)
            if ratio == _EXIT_AT_MARKET:
                if candles == 0:
                    raise self._make_invalid_value_error(
                        "minimal_roi", "such that it does not sell at once"
                    )
                self.take("exits.time_stop_bars", candles, "minimal_roi")
                break
            table[candles] = ratio
        if table:
            self.take("exits.target_table", table, "minimal_roi")
            self.take("exits.net_targets", True, "minimal_roi")

    def _read_roi(self) -> dict[int, float]:
        value = self._found.read_value("minimal_roi", {})
        try:
            return {int(key): float(ratio) for key, ratio in dict(value).items()}
        except (TypeError, ValueError) as error:
            raise self._make_invalid_value_error(
                "minimal_roi", 'minutes and fractions, such as {"0": 0.04}'
            ) from error

    def read_trailing_stop(self) -> None:
        """Read `trailing_stop` and the attributes that belong to it."""
        if not self._found.read_value("trailing_stop", default=False):
            return
        stop = self._read_number("stoploss", None)
        positive = self._read_number("trailing_stop_positive", None)
        offset = self._read_number("trailing_stop_positive_offset", _DEFAULT_OFFSET) or 0.0
        waits = bool(self._found.read_value("trailing_only_offset_is_reached", default=False))
        first = None if stop is None or stop <= -1 else -stop
        if positive is None and not waits:
            self._take_trailing(first)
            return
        self._take_trailing(first if positive is None else abs(positive))
        self.take("exits.trailing_offset", offset, "trailing_stop_positive_offset")
        if not waits and first is not None:
            self.take("exits.trailing_stop_before_offset", first, "stoploss")

    def _take_trailing(self, ratio: float | None) -> None:
        if ratio is None:
            raise self._make_invalid_value_error(
                "stoploss", "a number from -1 to 0 with trailing_stop"
            )
        self.take("exits.trailing_stop", ratio, "trailing_stop")

    def read_exit_profit(self) -> None:
        """Read `exit_profit_only` and its offset, or their older names."""
        for switch, offset in (
            ("exit_profit_only", "exit_profit_offset"),
            ("sell_profit_only", "sell_profit_offset"),
        ):
            if self._found.read_value(switch, default=False):
                self.take("exits.exit_profit_offset", self._read_number(offset, 0.0), switch)

    def read_protections(self) -> None:
        """Read `protections`: the cooldown and the entry guards."""
        listed = read_protection_list(self._found)
        if "protections" in self._found.methods:
            self.lines["protections"] = self._found.methods["protections"].lineno
        candles: list[int] = []
        for protection in cast("list[dict[str, Any]]", listed):
            method = protection.get("method")
            if "unlock_at" in protection:
                raise self._make_no_equivalent_error(f"unlock_at of {method}", "stop_duration has")
            if method == "CooldownPeriod":
                candles.append(self._read_cooldown(protection))
            else:
                self._take_guard(protection)
        if candles:
            # With several, freqtrade locks the pair until the longest lock has ended.
            self.take("account.cooldown_bars", max(candles), "protections")

    def _read_cooldown(self, one: dict[str, Any]) -> int:
        """Return the candles of one CooldownPeriod.

        freqtrade locks the pair up to the first candle that opens after the duration, counted from
        the candle of the exit, so a duration in minutes counts whole candles only.
        """
        candles, minutes = one.get("stop_duration_candles"), one.get("stop_duration")
        try:
            if candles is not None:
                return int(candles)
            minutes = _DEFAULT_COOLDOWN_MINUTES if minutes is None else minutes
            return math.floor(minutes / self._minutes)
        except (TypeError, ValueError, OverflowError) as error:
            raise self._make_invalid_value_error(
                "protections", "with a duration in whole numbers"
            ) from error

    def _take_guard(self, protection: dict[str, Any]) -> None:
        """Note the entry guard that a protection is."""
        # Most files have no protections.
        from onetape.strategies.freqtrade.protections import GUARDS, make_guard_text

        method = protection.get("method")
        key = GUARDS.get(method if isinstance(method, str) else "")
        if key is None:
            raise self._make_no_equivalent_error(
                f"protection {method}", f"{', '.join(['CooldownPeriod', *GUARDS])} have"
            )
        if key in self.values:
            raise self._make_no_equivalent_error(f"a second {method}", "one has")
        try:
            self.take(key, make_guard_text(protection, self._minutes), "protections")
        except KeyError as error:
            raise self._make_no_equivalent_error(
                f"{error.args[0]} of {method}", "the other numbers have"
            ) from error
        except ValueError as error:
            raise self._make_invalid_value_error("protections", str(error)) from error

    def _make_no_equivalent_error(self, what: str, instead: str) -> ConfigurationError:
        place = self._found.place(self._find_line("protections"))
        return ConfigurationError(
            f"{place}: {what} has no equivalent here, {instead}; take it out (docs/freqtrade.md)"
        )

    def read_max_open_trades(self) -> None:
        """Read `max_open_trades`."""
        value = self._read_number("max_open_trades", None)
        if value is not None and value > 0 and math.isfinite(value):
            self.take("max_open_trades", int(value), "max_open_trades")

    def _read_number(self, name: str, default: float | None) -> float | None:
        value = self._found.read_value(name, default)
        if value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)):
            return value
        raise self._make_invalid_value_error(name, "a number")

    def _find_line(self, name: str) -> int:
        found = self._found.attributes.get(name)
        return self.lines.get(name, self._found.line) if found is None else found.line

    def _make_invalid_value_error(self, name: str, allowed: str) -> ConfigurationError:
        return ConfigurationError(
            f"{self._found.place(self._find_line(name))}: {name} must be {allowed}"
        )


def read_protection_list(found: FreqtradeClass) -> Any:
    """Return the list of protections that a class states; empty where it states none.

    Raises:
        ConfigurationError: the list cannot be read without running the file.
    """
    return (
        _read_returned_list(found)
        if "protections" in found.methods
        else found.read_value("protections", [])
    )


def _read_returned_list(found: FreqtradeClass) -> Any:
    """Return the list that a property `protections` returns, where it is written as one."""
    import ast

    method = found.methods["protections"]
    returns = [one.value for one in ast.walk(method) if isinstance(one, ast.Return)]
    try:
        # With several return statements, or none, no list can be read.
        (only,) = returns
        return ast.literal_eval(only or "")
    except (ValueError, TypeError) as error:
        raise ConfigurationError(
            f"{found.place(method.lineno)}: protections cannot be read without running the file; "
            "write the list as plain values"
        ) from error
