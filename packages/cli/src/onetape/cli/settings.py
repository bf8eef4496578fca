"""Settings from a YAML file, the environment and flags; the later one wins. One model for all apps.

An app's settings are a frozen msgspec Struct. Values travel as text until msgspec converts them, so
a number means the same in a file, in `TRADER__CASH=500` and after `--cash`.
"""

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple, TypeGuard, TypeVar, cast, get_origin

import msgspec

from onetape.core.errors import ConfigurationError, OnetapeError, UsageError
from onetape.core.folders import CONFIG_FOLDER, USER_FOLDER
from onetape.core.words import error_text

#: More money than this is a slip of the keyboard, and its results would overflow.
MOST_MONEY = 1_000_000_000_000_000

S = TypeVar("S", bound=msgspec.Struct)
Tree = dict[str, Any]
Money = Annotated[float, msgspec.Meta(le=MOST_MONEY)]
#: May be written as one text, which then replaces one that came before rather than join it.
TABLE: Final = dict[int, float]
#: Flags that are not called like their setting.
_FLAGS: Final = {
    "strategy.name": "strategy",
    "strategy.parameters": "param",
    "account_name": "account",
    "account.cash": "cash",
    "account.fee_rate": "fee",
    "account.maker_fee_rate": "maker-fee",
    "account.fee_coin": "fee-coin",
    "account.slippage_bps": "slippage",
    "account.spread_bps": "spread-bps",
    "account.volume_impact": "volume-impact",
    "account.cool_down_bars": "cool-down",
    "account.reentry": "reentry",
    "exits.stop_loss": "stop-loss",
    "exits.take_profit": "take-profit",
    "exits.trailing_stop": "trailing-stop",
    "exits.time_stop_bars": "time-stop",
    "exits.target_table": "target",
    **dict.fromkeys(
        (
            "account.quote_amount",
            "account.base_amount",
            "account.equity_share",
            "account.risk_per_trade",
            "account.volatility_target",
        ),
        "sizing",
    ),
    "account.sizing": "sizing",
}
#: Ends a text in C; half a character, or a byte of an argument that is no UTF-8.
_FORBIDDEN = re.compile("[\0\ud800-\udfff]")


class Source(NamedTuple):
    """Where some of the settings come from."""

    tree: Tree
    """Values as they were given, nested as the model."""
    place: Callable[[str], str]
    """Tells, in words, where a dotted key is given."""
    error_class: type[OnetapeError]
    """What a mistake in it is."""


class StrategySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which strategy, and its parameters."""

    name: str = "rsi"
    """A built-in's name, a name in user/strategies, or `path/to/file.py:Class`."""
    parameters: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    """Parameters that differ from the strategy's defaults."""


class OrderSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Size and costs of orders: the same for backtest and paper."""

    fee_rate: float = 0.001
    """Part of each trade's worth that the exchange takes; 0.001 is 0.1 %."""
    maker_fee_rate: float | None = None
    """The same for targets, which are limit orders; none: as `fee_rate`."""
    fee_coin: str = "quote"
    """quote, or received: taken from what the trade brings in, as Binance does."""
    slippage_bps: float = 0.0
    """How much worse than the open a market order fills, in hundredths of a percent."""
    spread_bps: float = 0.0
    """Between bid and ask, in hundredths of a percent; a market order pays half of it."""
    volume_impact: float = 0.0
    """Part of the price that an order as large as a candle's volume loses; smaller: pro rata."""
    sizing: str = "all_in"
    """all_in, or the name of one of the next five: what an entry spends."""
    quote_amount: Money | None = None
    """Quote currency per entry, fee included; only with `sizing: quote_amount`."""
    base_amount: Money | None = None
    """Coins per entry; only with `sizing: base_amount`."""
    equity_share: float | None = None
    """Part of the account's worth per entry; only with `sizing: equity_share`."""
    risk_per_trade: float | None = None
    """Part of the account's worth lost at the first stop; only with `sizing: risk_per_trade`."""
    volatility_target: float | None = None
    """Volatility a year brought in per entry; only with `sizing: volatility_target`."""
    volatility_bars: int = 30
    """Closes before an entry whose changes tell the market's volatility."""
    cool_down_bars: int = 0
    """Candles after an exit whose signals enter nothing."""
    reentry: str = "new_signal"
    """new_signal: each run of BUYs leads to one entry at most; while_signal: any BUY may enter."""

    @property
    def closes_before(self) -> int:
        """Return how many closes before an entry its size depends on."""
        return self.volatility_bars + 1 if self.sizing == "volatility_target" else 0


class AccountSettings(OrderSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Money, size and costs of orders of a backtest."""

    cash: Money = 10_000.0
    """Start balance, in quote currency."""


class ExitSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a position is left beside the strategy's SELL: the same for backtest and paper."""

    stop_loss: float | None = None
    """Part of the entry's price that may be lost; 0.05 is 5 %."""
    take_profit: float | None = None
    """Part of the entry's price to be won."""
    trailing_stop: float | None = None
    """Part of the highest price since the entry that may be lost."""
    time_stop_bars: int | None = None
    """Sold at the open of this many candles after the entry's."""
    target_table: dict[int, float] = msgspec.field(default_factory=dict[int, float])
    """Candles since the entry, and the part to be won from then on: falls with time."""


def settings_file(app: str, given: Path | None) -> Path | None:
    """Return the file to read: the one given, else user/config/APP.yaml, else config/APP.yaml.

    Raises:
        ConfigurationError: the file given does not exist.
    """
    if given is not None:
        try:
            is_file = given.is_file()
        except (OSError, ValueError) as error:  # a name that no file can have
            raise ConfigurationError(f"{given} cannot be looked at: {error_text(error)}") from error
        if not is_file:
            raise ConfigurationError(f"{given} does not exist; --config names a YAML file")
        return given
    candidates = (USER_FOLDER / "config" / f"{app}.yaml", CONFIG_FOLDER / f"{app}.yaml")
    return next((path for path in candidates if path.is_file()), None)


def load_settings(
    model: type[S],
    app: str,
    file: Path | None,
    flags: Mapping[str, Any],
    environment: Mapping[str, str] | None = None,
    check: Callable[[S], None] | None = None,
) -> S:
    """Return the settings of an app: defaults, then file, then environment, then flags.

    Args:
        model: The app's settings.
        app: Its name; `APP__SECTION__KEY` are its environment variables.
        file: What `settings_file` found.
        flags: Nested as the model; None means not given.
        environment: For tests; the process's own by default.
        check: Raises UsageError or ConfigurationError where a value cannot be used, whatever there
            is to be done with it; the error then tells where the value came from.

    Raises:
        ConfigurationError: the file or a variable cannot be used; names path, line and key.
        UsageError: a flag cannot be used.
    """
    sources: list[Source] = []
    if file is not None:
        # Only a file needs YAML, which takes 10 ms to import.
        from onetape.cli.settings_file import read_settings

        from_file, lines = read_settings(file)

        def line(key: str) -> str:
            return f"{file}:{lines.get(key, 1)}"

        sources.append(Source(from_file, line, ConfigurationError))
    variables = _from_environment(app, os.environ if environment is None else environment)

    def variable(key: str) -> str:
        return f"{app}__{key}".upper().replace(".", "__")

    sources.append(Source(variables, variable, ConfigurationError))
    sources.append(Source(_without_none(flags), _flag, UsageError))
    merged: Tree = {}
    for source in sources:
        _convert(model, source)
        merged = _merge(merged, source.tree)

    def whole(key: str) -> str:
        return f"setting {key}"

    def checked(tree: Tree) -> S:
        settings = _convert(model, Source(tree, whole, ConfigurationError))
        if check is not None:
            check(settings)
        return settings

    try:
        return checked(merged)
    except (UsageError, ConfigurationError) as error:
        from onetape.cli.settings_errors import blamed

        raise blamed(error, merged, sources[::-1], checked) from error


def _from_environment(app: str, environment: Mapping[str, str]) -> Tree:
    tree: Tree = {}
    start = f"{app.upper()}__"
    # Empty is not given, as in the file: compose files set variables to nothing.
    given = [name for name, value in environment.items() if name.startswith(start) and value]
    for name in sorted(given):
        *sections, key = name.removeprefix(start).lower().split("__")
        at = tree
        for section in sections:
            below: object = at.setdefault(section, {})
            if not isinstance(below, dict):
                raise ConfigurationError(
                    f"{start}{section.upper()} is one value, so {name} has no place; unset one"
                )
            at = cast("Tree", below)
        at[key] = environment[name]
    return tree


def _flag(key: str) -> str:
    """Return the flag of a setting, or of an entry of it, such as a strategy's parameter."""
    name = key
    while name and name not in _FLAGS:
        name = name.rpartition(".")[0]
    return f"--{_FLAGS[name] if name else key.replace('_', '-')}"


def _without_none(flags: Mapping[str, Any]) -> Tree:
    tree: Tree = {}
    for key, value in flags.items():
        if isinstance(value, Mapping):
            inner = _without_none(cast("Mapping[str, Any]", value))
            if inner:
                tree[key] = inner
        elif value is not None and value != []:
            tree[key] = value
    return tree


def _merge(base: Tree, over: Tree) -> Tree:
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        both = isinstance(value, dict) and isinstance(below, dict)
        merged[key] = _merge(cast("Tree", below), cast("Tree", value)) if both else value
    return merged


def _convert(model: type[S], source: Source) -> S:
    _check_text(source.tree, "", source)

    def convert(tree: Tree) -> S:
        return msgspec.convert(_split(model, tree), model, strict=False, dec_hook=_from_text)

    try:
        return convert(source.tree)
    except msgspec.ValidationError as error:
        from onetape.cli.settings_errors import explained

        raise source.error_class(explained(model, str(error), source, convert)) from error


def _check_text(value: object, key: str, source: Source) -> None:
    """Refuse characters that neither a file's name nor the database can hold, and empty flags."""
    if isinstance(value, Mapping):
        for name, below in cast("Mapping[str, object]", value).items():
            _check_text(name, key, source)
            _check_text(below, f"{key}.{name}" if key else name, source)
    elif isinstance(value, list):
        for item in cast("list[object]", value):
            _check_text(item, key, source)
    elif source.error_class is UsageError and isinstance(value, str) and not value.strip():
        raise UsageError(f"{source.place(key)} is empty; give it a value, or leave it out")
    elif isinstance(value, str | Path) and _FORBIDDEN.search(str(value)):
        raise source.error_class(
            f"{source.place(key)}: {key}: {str(value)!r} is no text in UTF-8; write it anew"
        )


def _split(model: type[msgspec.Struct], tree: Tree) -> Tree:
    """Return the tree with `a, b` as a list, and `a=1, b=2` as a table, where the model has one."""
    split = dict(tree)
    for field in msgspec.structs.fields(model):
        value = tree.get(field.encode_name)
        if isinstance(value, str) and get_origin(field.type) is list:
            split[field.encode_name] = [part.strip() for part in value.split(",") if part.strip()]
        elif isinstance(value, str) and field.type == TABLE:
            from onetape.cli.settings_tables import table_of

            split[field.encode_name] = table_of(value)
        elif isinstance(value, dict) and is_struct(field.type):
            split[field.encode_name] = _split(field.type, cast("Tree", value))
    return split


def is_struct(kind: object) -> TypeGuard[type[msgspec.Struct]]:
    """Return whether a type is a section of settings."""
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _from_text(kind: type, value: object) -> object:
    """Convert what msgspec does not know: a path is text in a file and in the environment."""
    if kind is Path and isinstance(value, str | Path):
        try:
            return Path(value).expanduser()
        except RuntimeError as error:
            msg = "Expected `a path whose ~ is the home of a user`"
            raise ValueError(msg) from error
    msg = f"Expected `{kind.__name__}`"
    raise TypeError(msg)  # which msgspec completes with the place
