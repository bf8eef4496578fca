"""How a setting of a program is declared: once, as a `Setting` on the field of a frozen struct.

    stop_loss: Annotated[float | None, Setting("Sell this far under the entry.", gt=0, lt=1,
                                               flag="--stop-loss", metavar="RATIO")] = None

The flag and its help, the environment variable, the commented YAML files, the table in
docs/rules.md and the check of the bounds (`DeclaredStruct`) are all made from the declaration, the
type and the default. `collect_settings` lists the settings of a program; `onetape.cli` loads them.
"""

import math
from collections.abc import Iterator, Mapping
from decimal import Decimal
from functools import cache
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    ClassVar,
    Final,
    Literal,
    NamedTuple,
    TypeGuard,
    Union,
    get_args,
    get_origin,
)

import msgspec

from onetape.core.errors import UsageError
from onetape.core.message_text import suggest_name


class Setting(NamedTuple):
    """Declaration of a setting, in addition to its type and its default."""

    help: str
    """Help text in whole sentences, for `--help`, the YAML files and the docs."""
    flag: str = ""
    """Flag of the setting as it is typed: `--stop-loss`, or `--check/--no-check`. Empty: no flag
    sets it."""
    short: tuple[str, ...] = ()
    """Short forms of the flag."""
    metavar: str = ""
    """Placeholder of the flag's value in help texts, in capitals."""
    empty: str = ""
    """Text for the docs: the behaviour if a setting whose default is None has no value."""
    gt: float | None = None
    """Exclusive lower bound of the value."""
    ge: float | None = None
    """Inclusive lower bound of the value."""
    lt: float | None = None
    """Exclusive upper bound of the value."""
    le: float | None = None
    """Inclusive upper bound of the value."""
    plausible_max: float | None = None
    """Largest plausible value; a higher value is refused, because it is likely a typing error."""
    hint: str = ""
    """Example of the value with its unit, for error messages: `0.05 is 5 %`."""
    unit: str = ""
    """Unit of the value, for the table of the docs."""
    rule: str = ""
    """Exact effect of the setting, for the table of the docs; empty: as `help`."""
    example: str = ""
    """A sensible value as typed for the flag; replaces `{example}` in the help."""
    file_example: str = ""
    """Example of the value in a YAML file, where the YAML form differs from the flag's."""
    file_default: float | None = None
    """Value in the YAML files that come with the code, for programs; None: the default, as in
    Python."""
    number_of: str = ""
    """Name of the field whose flag also sets this setting: the flag of `sizing` sets `equity_share`
    in `--sizing equity_share=0.5`. Empty: no other flag."""
    is_joined: bool = False
    """Whether the flag may be repeated; the setting is then the values, joined by commas."""
    once: str = ""
    """Reason why the flag may be given only once, for the error; empty: of several, the last one is
    used."""
    key: str = ""
    """Dotted key of the setting; empty: the name of the field, below the section around it."""


class Section(NamedTuple):
    """Names the section of a field whose type is a struct of settings."""

    key: str = ""
    """Dotted key of the section. Empty: the name of the field, below the section around it."""


class DeclaredSetting(NamedTuple):
    """One setting of a program: its declaration, and where it is in the settings struct."""

    key: str
    """Dotted key of the setting, such as `exits.stop_loss`."""
    path: tuple[str, ...]
    """Names of the nested attributes of the value in the program's settings struct."""
    kind: Any
    """Type of the value, without None."""
    is_optional: bool
    """Whether the value may be None."""
    default: Any
    """Value of the setting if no file, variable or flag sets it."""
    setting: Setting
    """Declaration of the setting: help, flag, bounds."""

    @property
    def name(self) -> str:
        """Return the last part of the key."""
        return self.key.rpartition(".")[2]

    @property
    def file_value(self) -> Any:
        """Return the value of the setting in the YAML files that come with the code."""
        return self.default if self.setting.file_default is None else self.setting.file_default

    @property
    def choices(self) -> tuple[str, ...]:
        """Return the allowed values of a setting of type `Literal`; empty for any other type."""
        return get_args(self.kind) if get_origin(self.kind) is Literal else ()

    @property
    def flag(self) -> str:
        """Return the flag as typed: `--check` of `--check/--no-check`; empty without a flag."""
        return self.setting.flag.partition("/")[0]


#: Values of settings as in a YAML file: by name, the values of a section in a nested dictionary.
#: Where a function states it, a key may also be dotted: {"exits.stop_loss": 0.05}.
SettingsTree = dict[str, Any]


@cache
def collect_settings(model: type[msgspec.Struct]) -> Mapping[str, DeclaredSetting]:
    """Return the settings of a program by dotted key, in the order in which they are declared.

    Args:
        model: The settings struct of the program: its fields have a `Setting`, or are structs of
            such fields. Other fields are left out. Of two settings with the same key, the one that
            is less deeply nested is returned.
    """
    found: dict[str, DeclaredSetting] = {}
    for declared in _iterate_all_settings(model, (), ""):
        if declared.key not in found or len(declared.path) < len(found[declared.key].path):
            found[declared.key] = declared
    return found


def _iterate_all_settings(
    model: type[msgspec.Struct], path: tuple[str, ...], prefix: str
) -> Iterator[DeclaredSetting]:
    """Yield the settings of a struct and of the structs in its fields."""
    for field in msgspec.structs.fields(model):
        kind, notes = _split_annotation(field.type)
        at = (*path, field.name)
        if is_struct(kind):
            section = next((note for note in notes if isinstance(note, Section)), Section())
            section_prefix = f"{section.key or prefix + field.encode_name}."
            yield from _iterate_all_settings(kind, at, section_prefix)
        else:
            yield from _iterate_declared(field, kind, notes, at, prefix)


def _iterate_own_settings(model: type[msgspec.Struct]) -> Iterator[DeclaredSetting]:
    """Yield the settings of the fields of a struct, without those of nested structs."""
    for field in msgspec.structs.fields(model):
        kind, notes = _split_annotation(field.type)
        if not is_struct(kind):
            yield from _iterate_declared(field, kind, notes, (field.name,), "")


def _iterate_declared(
    field: "msgspec.structs.FieldInfo",
    kind: Any,
    notes: tuple[Any, ...],
    path: tuple[str, ...],
    prefix: str,
) -> Iterator[DeclaredSetting]:
    """Yield the setting of one field; nothing if the field has no `Setting`."""
    for setting in notes:
        if isinstance(setting, Setting):
            key = setting.key or prefix + field.encode_name
            members = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
            [value_type] = [member for member in members if member is not NoneType]
            is_optional, default = NoneType in members, _get_default(field)
            yield DeclaredSetting(key, path, value_type, is_optional, default, setting)


def _split_annotation(kind: Any) -> tuple[Any, tuple[Any, ...]]:
    """Return the type and the notes of `Annotated[type, *notes]`; no notes for another type."""
    if get_origin(kind) is Annotated:
        inner, *notes = get_args(kind)
        return inner, tuple(notes)
    return kind, ()


def _get_default(field: "msgspec.structs.FieldInfo") -> Any:
    made = field.default_factory
    return field.default if made is msgspec.NODEFAULT else made()


def is_struct(kind: object) -> TypeGuard[type[msgspec.Struct]]:
    """Return whether a type is a struct, whose settings form a section."""
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def get_setting_value(settings: msgspec.Struct, declared: DeclaredSetting) -> Any:
    """Return the value of one setting in the settings struct of a program."""
    value: Any = settings
    for name in declared.path:
        value = getattr(value, name)
    return value


def build_settings_tree(settings: msgspec.Struct) -> SettingsTree:
    """Return all settings of a program as values nested by their keys, as in a YAML file."""
    tree: SettingsTree = {}
    for key, declared in collect_settings(type(settings)).items():
        set_tree_value(tree, key, get_setting_value(settings, declared))
    return tree


def set_tree_value(tree: SettingsTree, key: str, value: object) -> None:
    """Set the value of a dotted key in nested settings; missing sections are added."""
    *sections, name = key.split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
    tree[name] = value


class DeclaredStruct(msgspec.Struct, frozen=True, kw_only=True):
    """Base class of structs of settings; creating one checks each value against its declaration."""

    section: ClassVar[str] = ""
    """Dotted key of the section of the settings, for errors; empty: no section."""

    def __post_init__(self) -> None:
        """Refuse a value outside its declared bounds or choices; nested structs check themselves.

        Raises:
            UsageError: the text names the setting, the allowed values and the found value.
        """
        for declared in _list_limited_settings(type(self)):
            value = getattr(self, declared.path[0])
            if value is not None:
                key = f"{self.section}.{declared.name}" if self.section else declared.name
                check_setting_value(declared, value, declared.setting.key or key)


def check_setting_value(declared: DeclaredSetting, value: Any, key: str) -> None:
    """Refuse a value outside the declared bounds or choices of a setting.

    Args:
        declared: The setting.
        value: Value of the declared type.
        key: Dotted key, by which an error finds the place where the setting was given.

    Raises:
        UsageError: the text begins with the name of the setting, and has the allowed values and
            the found value.
    """
    has_limits = bool(declared.choices or _get_bounds(declared.setting))
    if has_limits and not (value in declared.choices or _is_within_bounds(declared, value)):
        raise UsageError(_explain_refusal(declared, value), setting=key)


@cache
def _list_limited_settings(model: type[msgspec.Struct]) -> tuple[DeclaredSetting, ...]:
    """Return the settings of a struct that have bounds or choices, without nested structs."""
    return tuple(
        declared
        for declared in _iterate_own_settings(model)
        if declared.choices or _get_bounds(declared.setting)
    )


def _get_bounds(setting: Setting) -> list[float]:
    bounds = (setting.gt, setting.ge, setting.lt, setting.le, setting.plausible_max)
    return [bound for bound in bounds if bound is not None]


def _is_finite(value: float | Decimal) -> bool:
    return value.is_finite() if isinstance(value, Decimal) else math.isfinite(value)


def _is_within_bounds(declared: DeclaredSetting, value: float | Decimal) -> bool:
    setting = declared.setting
    return (
        not declared.choices
        and _is_finite(value)
        and (setting.gt is None or value > setting.gt)
        and (setting.ge is None or value >= setting.ge)
        and (setting.lt is None or value < setting.lt)
        and (setting.le is None or value <= setting.le)
        and (setting.plausible_max is None or value <= setting.plausible_max)
    )


def _explain_refusal(declared: DeclaredSetting, value: Any) -> str:
    if declared.choices:
        hint = suggest_name(str(value), declared.choices)
        choices = ", ".join(declared.choices)
        return f"{declared.name} must be one of {choices}, found {value!r}{hint}"
    limit = declared.setting.plausible_max
    is_implausible = limit is not None and _is_finite(value) and value > limit
    allowed = f"at most {limit:,}" if is_implausible else format_allowed(declared.setting)
    return f"{declared.name} must be {allowed}, found {value}"


#: Text of each bound, by the name of its field in `Setting`.
_BOUND_TEXTS: Final = {
    "gt": "above {:,}",
    "ge": "{:,} or more",
    "lt": "under {:,}",
    "le": "at most {:,}",
}


def format_allowed(setting: Setting) -> str:
    """Return the bounds of a setting as text: `above 0 and under 1 (0.05 is 5 %)`."""
    given = [(template, getattr(setting, name)) for name, template in _BOUND_TEXTS.items()]
    text = " and ".join(template.format(bound) for template, bound in given if bound is not None)
    return f"{text} ({setting.hint})" if setting.hint else text
