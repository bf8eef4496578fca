"""Convert the value of a setting from text of a file, a variable or a flag to its declared type."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast, get_args, get_origin

import msgspec

from onetape.cli.setting_sources import TABLE, SettingSource
from onetape.core.setting import DeclaredSetting


class ConvertedSetting(NamedTuple):
    """A setting's value, converted to its declared type."""

    value: Any
    entries: list[str]
    """Dotted keys of the entries of a table that was given entry by entry."""
    is_whole: bool
    """Whether the value replaces an earlier table; otherwise their entries are merged."""


def convert_setting_value(
    declared: DeclaredSetting, value: object, source: SettingSource
) -> ConvertedSetting:
    """Return a value converted to the declared type of its setting.

    Args:
        declared: The setting.
        value: Value before conversion: text, or lists and dictionaries of text.
        source: Source of the value, for the error.

    Raises:
        ConfigurationError: the value cannot be converted; the text has place, key and value.
        UsageError: a flag has an invalid value.
    """
    if get_origin(declared.kind) is dict:
        if isinstance(value, Mapping):
            return _convert_table(declared, cast("Mapping[str, object]", value), source)
        if isinstance(value, str) and declared.kind == TABLE:
            return ConvertedSetting(_parse_table(declared, value, source), [], is_whole=True)
        raise _make_refusal(declared.key, "expected object", value, source)
    if isinstance(value, str) and get_origin(declared.kind) is list:
        value = [part.strip() for part in value.split(",") if part.strip()]
    # `DeclaredStruct` checks choices, together with bounds.
    kind = str if declared.choices else declared.kind
    try:
        return ConvertedSetting(
            _convert(value, kind | None if declared.is_optional else kind), [], True
        )
    except msgspec.ValidationError as error:
        if isinstance(value, list):
            raise _make_entry_error(
                declared, str(error), cast("list[object]", value), source
            ) from error
        raise _make_refusal(declared.key, _describe_expected(str(error)), value, source) from error


def _make_entry_error(
    declared: DeclaredSetting, text: str, value: list[object], source: SettingSource
) -> Exception:
    """Return the error of an entry of a list, with its number and an example of the list."""
    place = re.search(r" - at `\$\[(\d+)\](.*?)`$", text)
    if place is None:
        return _make_refusal(declared.key, _describe_expected(text), value, source)
    number = int(place[1])
    key = f"{declared.key}: entry {number + 1}{place[2]}"
    example = declared.setting.file_example
    remedy = f"; an example is {declared.key}: {example}" if example else ""
    found = value[number] if number < len(value) else value
    return source.make_error(
        declared.key, f"{key}: {_describe_expected(text)}, found {found!r}{remedy}"
    )


def _convert_table(
    declared: DeclaredSetting, table: Mapping[str, object], source: SettingSource
) -> ConvertedSetting:
    """Return the values of a setting whose type is a dictionary, each key and value converted.

    Raises:
        UsageError or ConfigurationError, by the source: a key or value has another type.
    """
    of_key, of_value = get_args(declared.kind)
    found: dict[Any, Any] = {}
    for name, value in table.items():
        key = f"{declared.key}.{name}"
        try:
            named = _convert(name, of_key)
        except msgspec.ValidationError as error:
            text = f"{declared.key}: {_describe_expected(str(error))} for a key, found {name!r}"
            raise source.make_error(key, text) from error
        try:
            found[named] = _convert(value, of_value)
        except msgspec.ValidationError as error:
            raise _make_refusal(key, _describe_expected(str(error)), value, source) from error
    return ConvertedSetting(found, [f"{declared.key}.{name}" for name in table], is_whole=False)


def _parse_table(
    declared: DeclaredSetting, text: str, source: SettingSource
) -> dict[str | int, float]:
    """Return a table that was given as one text, such as `0=2%,24h=0.5%`.

    Times such as `24h` remain; `convert_ages` converts them once the timeframe is known.
    """
    from onetape.core.table_text import parse_age_table  # few settings are tables

    try:
        return parse_age_table(text)
    except ValueError as error:
        raise _make_refusal(declared.key, str(error), text, source) from error


def convert_ages(table: Mapping[str | int, float], timeframe: object) -> dict[int, float]:
    """Return a table of a setting whose times such as `24h` are converted to numbers of candles.

    Args:
        table: Values by time or by number of candles.
        timeframe: Timeframe of the program's settings.

    Raises:
        UsageError: a time is no whole number of candles, or the timeframe is invalid.
    """
    from onetape.core.errors import name_settings
    from onetape.core.table_text import count_candles_of_ages
    from onetape.core.timeframes import Timeframe

    with name_settings("timeframe"):
        parsed = Timeframe.parse(str(timeframe))
    return count_candles_of_ages(table, parsed)


def _convert(value: object, kind: Any) -> Any:
    return msgspec.convert(value, kind, strict=False, dec_hook=_convert_path)


def _make_refusal(key: str, expected: str, value: object, source: SettingSource) -> Exception:
    found: object = str(value) if isinstance(value, Path) else value
    return source.make_error(key, f"{key}: {expected}, found {found!r}")


def _describe_expected(text: str) -> str:
    """Return an error text of msgspec in plain English, such as `expected a number`."""
    expected = re.sub(r" - at `\$.*?`$", "", text)
    expected = re.sub(r"^Expected `(.*?)`.*$", r"expected \1", expected)
    expected = re.sub(r"^Object missing required field `(.*?)`.*$", r"\1 is missing", expected)
    expected = re.sub(r"^Object contains unknown field `(.*?)`.*$", r"unknown key \1", expected)
    expected = expected.replace(" | null", "").replace("float", "a number")
    return re.sub(r"^(Invalid decimal string|expected decimal)$", "expected a number", expected)


def _convert_path(kind: type, value: object) -> object:
    """Convert text to a path, for msgspec, which does not know paths; `~` is the user's home.

    Raises:
        ValueError: the home of `~` is not known.
        TypeError: the value is no text, or the type is not Path.
    """
    if kind is Path and isinstance(value, str | Path):
        try:
            return Path(value).expanduser()
        except RuntimeError as error:
            msg = "Expected `a path whose ~ is the home of a user`"
            raise ValueError(msg) from error
    msg = f"Expected `{kind.__name__}`"
    raise TypeError(msg)  # which msgspec completes with the place
