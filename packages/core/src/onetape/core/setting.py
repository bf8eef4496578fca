"""Settings, each declared once: a `Setting` on the field of a frozen struct.

    stop_loss: Annotated[float | None, Setting("Sell this far under the entry.", gt=0, lt=1,
                                               flag="--stop-loss", metavar="RATIO")] = None

The flag and its help, the variable, the commented YAML files, the table in docs/rules.md and the
check of the bounds (`DeclaredStruct`) all come from that declaration, the type and the default.
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
    most: float | None = None
    """Largest plausible value, above which the setting is refused as a typing error."""
    hint: str = ""
    """Example of the value with its unit, for error messages."""
    unit: str = ""
    """Unit of the value, for the table of the docs."""
    rule: str = ""
    """Exact effect of the setting, for the table of the docs; empty: as `help`."""
    example: str = ""
    """A sensible value as typed for the flag; replaces `{example}` in the help."""
    file_example: str = ""
    """Example of the value in a YAML file, where the YAML form differs from the flag's."""
    number_of: str = ""
    """Name of the field whose flag also sets this setting, as in `--sizing equity_share=0.5`."""
    is_joined: bool = False
    """Whether the flag may be repeated, and the values are joined by commas."""
    once: str = ""
    """Reason why the flag may be given only once, for the error; empty: the last one counts."""
    key: str = ""
    """Dotted key of the setting, if it differs from the field's name."""


class Section(NamedTuple):
    """Section of the settings of a nested struct; for a field whose type is a struct."""

    key: str = ""
    """Dotted key of the section. Empty: the name of the field, below the section around it."""


class Declared(NamedTuple):
    """One setting of a program."""

    key: str
    """Dotted key of the setting, such as `exits.stop_loss`."""
    path: tuple[str, ...]
    """Attributes that lead to the value from the struct of the program."""
    kind: Any
    """Type of the value, without None."""
    is_optional: bool
    """Whether the value may be None."""
    default: Any
    setting: Setting

    @property
    def name(self) -> str:
        """Return the last part of the key."""
        return self.key.rpartition(".")[2]

    @property
    def choices(self) -> tuple[str, ...]:
        """Return the allowed words of the setting; empty if it is no choice of words."""
        return get_args(self.kind) if get_origin(self.kind) is Literal else ()

    @property
    def flag(self) -> str:
        """Return the flag as typed to give a value, or an empty text."""
        return self.setting.flag.partition("/")[0]


#: Values by dotted key, nested.
Tree = dict[str, Any]


@cache
def collect_settings(model: type[msgspec.Struct]) -> Mapping[str, Declared]:
    """Return the settings of a program by dotted key, in the order in which they are declared.

    Args:
        model: A struct whose fields have a `Setting`, or are structs of such fields. Other fields
            are no settings. Of two settings with one key the outer one counts.
    """
    found: dict[str, Declared] = {}
    for one in _walk(model, (), ""):
        if one.key not in found or len(one.path) < len(found[one.key].path):
            found[one.key] = one
    return found


def _walk(model: type[msgspec.Struct], path: tuple[str, ...], prefix: str) -> Iterator[Declared]:
    for field in msgspec.structs.fields(model):
        kind, notes = _split(field.type)
        at = (*path, field.name)
        if is_struct(kind):
            section = next((note for note in notes if isinstance(note, Section)), Section())
            yield from _walk(kind, at, f"{section.key or prefix + field.encode_name}.")
        else:
            yield from _iterate_declared(field, kind, notes, at, prefix)


def _iterate_own_settings(model: type[msgspec.Struct]) -> Iterator[Declared]:
    """Yield the settings of a struct's own fields."""
    for field in msgspec.structs.fields(model):
        kind, notes = _split(field.type)
        if not is_struct(kind):
            yield from _iterate_declared(field, kind, notes, (field.name,), "")


def _iterate_declared(
    field: "msgspec.structs.FieldInfo",
    kind: Any,
    notes: tuple[Any, ...],
    path: tuple[str, ...],
    prefix: str,
) -> Iterator[Declared]:
    for setting in notes:
        if isinstance(setting, Setting):
            key = setting.key or prefix + field.encode_name
            members = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
            [one] = [member for member in members if member is not NoneType]
            yield Declared(key, path, one, NoneType in members, _get_default(field), setting)


def _split(kind: Any) -> tuple[Any, tuple[Any, ...]]:
    if get_origin(kind) is Annotated:
        inner, *notes = get_args(kind)
        return inner, tuple(notes)
    return kind, ()


def _get_default(field: "msgspec.structs.FieldInfo") -> Any:
    made = field.default_factory
    return field.default if made is msgspec.NODEFAULT else made()


def is_struct(kind: object) -> TypeGuard[type[msgspec.Struct]]:
    """Return whether a type is a struct, which settings use as a section."""
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def get_setting_value(settings: msgspec.Struct, one: Declared) -> Any:
    """Return the value of a setting of a program."""
    value: Any = settings
    for name in one.path:
        value = getattr(value, name)
    return value


def build_settings_tree(settings: msgspec.Struct) -> Tree:
    """Return all settings of a program as values nested by their keys, as in a YAML file."""
    tree: Tree = {}
    for key, one in collect_settings(type(settings)).items():
        put(tree, key, get_setting_value(settings, one))
    return tree


def put(tree: Tree, key: str, value: object) -> None:
    """Set the value of a dotted key in a tree."""
    *sections, name = key.split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
    tree[name] = value


class DeclaredStruct(msgspec.Struct, frozen=True, kw_only=True):
    """A struct whose fields have a `Setting`; its creation checks their bounds and words."""

    section: ClassVar[str] = ""
    """Dotted key of the section of its settings; empty: no section."""

    def __post_init__(self) -> None:
        """Refuse a value outside its declared bounds or words; nested structs check themselves.

        Raises:
            UsageError: the text names the setting, the allowed values and the found value.
        """
        for one in _check_declared(type(self)):
            value = getattr(self, one.path[0])
            if value is not None and not (value in one.choices or _fits(one, value)):
                key = f"{self.section}.{one.name}" if self.section else one.name
                raise UsageError(_explain_refusal(one, value), setting=one.setting.key or key)


@cache
def _check_declared(model: type[msgspec.Struct]) -> tuple[Declared, ...]:
    """Return the settings of a struct's own fields that have bounds or words."""
    return tuple(
        one for one in _iterate_own_settings(model) if one.choices or _get_bounds(one.setting)
    )


def _get_bounds(setting: Setting) -> list[float]:
    bounds = (setting.gt, setting.ge, setting.lt, setting.le, setting.most)
    return [bound for bound in bounds if bound is not None]


def _is_finite(value: float | Decimal) -> bool:
    return value.is_finite() if isinstance(value, Decimal) else math.isfinite(value)


def _fits(one: Declared, value: float | Decimal) -> bool:
    setting = one.setting
    return (
        not one.choices
        and _is_finite(value)
        and (setting.gt is None or value > setting.gt)
        and (setting.ge is None or value >= setting.ge)
        and (setting.lt is None or value < setting.lt)
        and (setting.le is None or value <= setting.le)
        and (setting.most is None or value <= setting.most)
    )


def _explain_refusal(one: Declared, value: Any) -> str:
    if one.choices:
        hint = suggest_name(str(value), one.choices)
        return f"{one.name} must be one of {', '.join(one.choices)}, found {value!r}{hint}"
    most = one.setting.most
    is_slip = most is not None and _is_finite(value) and value > most
    allowed = f"at most {most:,}" if is_slip else format_allowed(one.setting)
    return f"{one.name} must be {allowed}, found {value}"


#: Words of a bound, by its name.
_WORDS: Final = {
    "gt": "above {:,}",
    "ge": "{:,} or more",
    "lt": "under {:,}",
    "le": "at most {:,}",
}


def format_allowed(setting: Setting) -> str:
    """Return the bounds of a setting in words: `above 0 and under 1 (0.05 is 5 %)`."""
    given = [(words, getattr(setting, name)) for name, words in _WORDS.items()]
    text = " and ".join(words.format(bound) for words, bound in given if bound is not None)
    return f"{text} ({setting.hint})" if setting.hint else text
