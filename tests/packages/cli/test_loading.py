"""Settings: which source takes precedence, and the error of each mistake."""

import stat
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onetape.cli.common_settings import DATABASE, EXCHANGE, SYMBOL, TIMEFRAME, StrategySettings
from onetape.cli.loading import find_settings_file, load_settings
from onetape.core.errors import ConfigurationError, UsageError
from onetape.core.folders import choose_database_path
from onetape.core.setting import DeclaredStruct, Setting
from onetape.engine.account_config import AccountConfig
from repeatable import count_examples


class Settings(DeclaredStruct, frozen=True, kw_only=True):
    exchange: Annotated[str, EXCHANGE] = "binance"
    symbol: Annotated[list[str], SYMBOL] = msgspec.field(default_factory=lambda: ["BTC/USDT"])
    from_: Annotated[str | None, Setting("First day.", flag="--from")] = msgspec.field(
        default=None, name="from"
    )
    allow_gaps: Annotated[bool, Setting("Go on over gaps.", flag="--allow-gaps")] = False
    jobs: Annotated[int | None, Setting("Processes.", flag="--jobs", ge=1)] = None
    db: Annotated[Path | None, DATABASE] = None
    timeframe: Annotated[str, TIMEFRAME] = "1h"
    strategy: StrategySettings = StrategySettings()
    account: AccountConfig = AccountConfig()


def load(
    file: Path | None = None,
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Settings:
    return load_settings(Settings, "app", file, dict(flags or {}), environment or {}).settings


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "app.yaml"


def get_load_error(file: Path, text: str) -> str:
    """Return the error of a settings file without the file's folder, having checked its form."""
    file.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load(file)
    assert str(caught.value).startswith(f"{file}:")
    return str(caught.value).removeprefix(f"{file.parent}/")


@pytest.mark.parametrize(
    ("in_file", "in_environment", "as_flag", "cash"),
    [
        (False, False, False, 10_000.0),
        (True, False, False, 1.0),
        (True, True, False, 2.0),
        (True, True, True, 3.0),
        (False, True, False, 2.0),
        (True, False, True, 3.0),
    ],
)
def test_flags_take_precedence_over_environment_file_and_defaults_in_this_order(
    file: Path, in_file: bool, in_environment: bool, as_flag: bool, cash: float
) -> None:
    file.write_text("account: {cash: 1, fee_rate: 0.5}\n")
    found = load(
        file if in_file else None,
        {"account": {"cash": 3.0 if as_flag else None}},
        {"APP__ACCOUNT__CASH": "2"} if in_environment else {},
    )
    assert found.account.cash == cash
    assert found.account.fee_rate == (0.5 if in_file else 0.001)


def test_parameters_of_all_sources_are_merged_by_name(file: Path) -> None:
    file.write_text("strategy: {name: rsi, parameters: {period: 1, buy: 10}}\n")
    environment = {"APP__STRATEGY__PARAMETERS__PERIOD": "2", "APP__STRATEGY__PARAMETERS__SELL": "5"}
    found = load(file, {"strategy": {"parameters": {"sell": "6"}}}, environment)
    assert found.strategy.parameters == {"period": "2", "buy": "10", "sell": "6"}


def test_every_type_of_value_means_the_same_in_a_file_and_in_the_environment(file: Path) -> None:
    file.write_text("symbol: [A/B, C/D]\nfrom: 2024-01-01\nallow_gaps: true\ndb: x/y.db\n")
    environment = {
        "APP__SYMBOL": "A/B, C/D",
        "APP__FROM": "2024-01-01",
        "APP__ALLOW_GAPS": "true",
        "APP__DB": "x/y.db",
    }
    assert load(file) == load(None, {}, environment)
    assert load(file).db == Path("x/y.db")
    assert load(None, {"db": Path("x/y.db")}).db == Path("x/y.db")


TABLES = (
    '{"0": 0.02, "24": 0.005}',
    "{0: 0.02, 24: 0.005}",
    "0=2%,24h=0.5%",
    " 0 = 0.02, 1440m = 5e-3 ",
    "0=2%,1d=0.005",
)


#: Answer to a key of a table that has no unit.
TIMES = "expected keys such as 0 or 24h, a time with its unit"


@pytest.mark.parametrize("text", TABLES)
def test_a_table_given_as_one_text_replaces_the_table_of_a_lower_source(
    file: Path, text: str
) -> None:
    file.write_text("exits: {target_table: {0: 0.04, 60: 0.02}}\n")
    wanted = {0: 0.02, 24: 0.005}
    assert load(file, {}, {"APP__EXITS__TARGET_TABLE": text}).account.exits.target_table == wanted
    assert load(file, {"exits": {"target_table": text}}).account.exits.target_table == wanted


@pytest.mark.parametrize(
    ("text", "error_text"),
    [
        ("soon", "expected KEY=VALUE,KEY=VALUE, each key once, found 'soon'"),
        ("0=0.1,0=0.2", "expected KEY=VALUE,KEY=VALUE, each key once, found '0=0.1,0=0.2'"),
        ("0=0.1,", "expected KEY=VALUE,KEY=VALUE, each key once, found '0=0.1,'"),
        ("0=soon", "expected a number, found '0=soon'"),
        ("0=1e999999999%", "expected a number, found '0=1e999999999%'"),
        ("{later: 0.1}", "expected int, found '{later: 0.1}'"),
        ("0=0.1,24=0.05", f"{TIMES}, found '0=0.1,24=0.05'"),
        ("later=0.1", f"{TIMES}, found 'later=0.1'"),
    ],
)
def test_a_text_that_is_not_a_table_is_refused_with_the_expected_form(
    text: str, error_text: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(None, {}, {"APP__EXITS__TARGET_TABLE": text})
    assert str(caught.value) == f"APP__EXITS__TARGET_TABLE: exits.target_table: {error_text}"


def test_an_invalid_table_in_a_flag_names_the_flag(file: Path) -> None:
    file.write_text("exits: {target_table: {0: 0.04, 60: 0.02}}\n")

    def check(found: Settings) -> None:
        if 101 in found.account.exits.target_table:
            raise UsageError("target_table is too long", setting="exits.target_table")

    flags = {"exits": {"target_table": "0=4%,101h=2%"}}
    loaded = load_settings(Settings, "app", file, flags, {})
    with (
        pytest.raises(UsageError, match=r"^--roi-table: target_table is too long$"),
        loaded.places.add_places_to_errors(),
    ):
        check(loaded.settings)


def test_a_list_of_one_symbol_needs_no_brackets(file: Path) -> None:
    file.write_text("symbol: ETH/USDT\n")
    assert load(file).symbol == ["ETH/USDT"]


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "from:\ndb: ~\nstrategy:\n"])
def test_an_empty_value_counts_as_not_given(file: Path, text: str) -> None:
    file.write_text(text)
    assert load(file, {}, {"APP__FROM": "", "APP__SYMBOL": ""}) == Settings()


def test_variables_of_other_programs_are_left_alone() -> None:
    assert load(None, {}, {"APPLE__X": "1", "APP_X": "1", "PATH": "/bin"}) == Settings()


@pytest.mark.parametrize(
    ("text", "error_text"),
    [
        (
            "exchange: binance\nsymbl: [A/B]\n",
            "app.yaml:2: unknown key 'symbl'; did you mean 'symbol'?",
        ),
        (
            "account:\n  cash: 5\n  fee_rat: 1\n",
            "app.yaml:3: unknown key 'account.fee_rat'; did you mean 'fee_rate'?",
        ),
        (
            "account:\n  cash: much\n",
            "app.yaml:2: account.cash: expected a number, found 'much'",
        ),
        ("allow_gaps: maybe\n", "app.yaml:1: allow_gaps: expected bool, found 'maybe'"),
        ("symbol: {a: b}\n", "app.yaml:1: symbol: expected array, found {'a': 'b'}"),
        ("db: [a]\n", "app.yaml:1: db: expected Path, found ['a']"),
        (
            "strategy:\n  parameters:\n    a.b: 5\n    period: [14]\n",
            "app.yaml:4: strategy.parameters.period: expected str, found ['14']",
        ),
        (
            "exits:\n  target_table:\n    0: 0.04\n    60: soon\n",
            "app.yaml:4: exits.target_table.60: expected a number, found 'soon'",
        ),
        (
            "exits:\n  target_table:\n    0: 0.04\n    later: 0.02\n",
            "app.yaml:4: exits.target_table: expected int for a key, found 'later'",
        ),
        ("account: 5\n", "app.yaml:1: account: expected object, found '5'"),
        (
            "exchange: a\nexchange: b\n",
            "app.yaml:2: exchange is set twice, first in line 1",
        ),
        ("from:\nfrom: 2024-01-01\n", "app.yaml:2: from is set twice, first in line 1"),
        (
            "exchange: !!python/name:os.system\n",
            "app.yaml:1: the tag tag:yaml.org,2002:python/name:os.system is not allowed here",
        ),
        (
            "symbol: !!python/object/apply:os.system [id]\n",
            "app.yaml:1: the tag tag:yaml.org,2002:python/object/apply:os.system is not "
            "allowed here",
        ),
        (
            "account: !!python/object:os.X {cash: 1}\n",
            "app.yaml:1: the tag tag:yaml.org,2002:python/object:os.X is not allowed here",
        ),
        ("exchange: !mine x\n", "app.yaml:1: the tag !mine is not allowed here"),
        ("- a\n- b\n", "app.yaml:1: expected `key: value` lines, found something else"),
        ("? [a, b]\n: c\n", "app.yaml:1: a key must be one word, such as `symbol:`"),
    ],
)
def test_an_invalid_setting_is_reported_with_its_line(
    file: Path, text: str, error_text: str
) -> None:
    assert get_load_error(file, text) == error_text


@pytest.mark.parametrize(
    ("text", "line"), [("a: [1\nb: 2\n", 2), ("a: b: c\n", 1), ("x\n---\ny\n", 2), ("a: *b\n", 1)]
)
def test_malformed_yaml_is_reported_with_its_line(file: Path, text: str, line: int) -> None:
    assert get_load_error(file, text).startswith(f"app.yaml:{line}: no valid YAML: ")


@pytest.mark.parametrize("text", ["strategy: &a {parameters: *a}\n", "symbol: &a [*a]\n"])
def test_a_file_that_contains_itself_is_refused(file: Path, text: str) -> None:
    assert "nested too deeply" in get_load_error(file, text)


def test_a_binary_file_is_refused(file: Path) -> None:
    file.write_bytes(b"exchange: \xff\xfe\n")
    with pytest.raises(ConfigurationError, match="no valid YAML"):
        load(file)
    file.write_bytes(b"exchange: a\0b\n")
    with pytest.raises(ConfigurationError, match="no valid YAML"):
        load(file)


@pytest.mark.parametrize(
    ("environment", "error_text"),
    [
        ({"APP__ACCOUNT__CASH": "x"}, "APP__ACCOUNT__CASH: account.cash: expected a number"),
        ({"APP__EXCHANG": "x"}, "APP__EXCHANG: unknown key 'exchang'; did you mean 'exchange'"),
        ({"APP__STRATEGY": "rsi", "APP__STRATEGY__NAME": "macd"}, "APP__STRATEGY is one value"),
    ],
)
def test_an_invalid_value_in_the_environment_names_the_variable(
    environment: dict[str, str], error_text: str
) -> None:
    with pytest.raises(ConfigurationError, match="^" + error_text):
        load(None, {}, environment)


def test_an_invalid_value_in_a_flag_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match=r"^--allow-gaps: allow_gaps: expected bool, found 'x'"):
        load(None, {"allow_gaps": "x"})


@pytest.mark.parametrize("value", ["", " ", [""], ["A/B", ""]])
def test_an_empty_flag_is_not_taken_for_the_default(value: object) -> None:
    with pytest.raises(UsageError, match=r"^--symbol is empty; give it a value, or leave it out$"):
        load(None, {"symbol": value})


ONE_OF_TWO = "exits: {stop_loss: 0.5}\nallow_gaps: true\n"


@pytest.mark.parametrize(
    ("flags", "environment", "place"),
    [
        ({}, {}, "{file}:1: "),
        ({}, {"APP__EXITS__STOP_LOSS": "0.4"}, "APP__EXITS__STOP_LOSS: "),
        ({"exits": {"stop_loss": 0.3}}, {"APP__EXITS__STOP_LOSS": "0.4"}, "--"),
        ({"allow_gaps": True}, {"APP__EXITS__STOP_LOSS": "0.4"}, "--allow-gaps: "),
    ],
)
def test_contradictory_settings_name_the_source_that_takes_precedence(
    file: Path, flags: dict[str, Any], environment: dict[str, str], place: str
) -> None:
    file.write_text(ONE_OF_TWO)

    def check(found: Settings) -> None:
        text = f"stop_loss {found.account.exits.stop_loss} needs whole candles"
        raise UsageError(text, setting=("exits.stop_loss", "allow_gaps"))

    loaded = load_settings(Settings, "app", file, flags, environment)
    faults = pytest.raises((UsageError, ConfigurationError))
    with faults as caught, loaded.places.add_places_to_errors():
        check(loaded.settings)
    name = "stop-loss" if place == "--" else "stop_loss"
    assert str(caught.value).startswith(f"{place.format(file=file)}{name} 0.")
    assert isinstance(caught.value, UsageError) == place.startswith("--")


def test_an_error_found_after_loading_names_the_place_of_its_setting(file: Path) -> None:
    file.write_text("strategy:\n  parameters:\n    period: 1\n")
    flags = {"strategy": {"parameters": {"buy": "2"}}}
    loaded = load_settings(Settings, "app", file, flags, {})

    def placed(name: str) -> str:
        error = UsageError(f"strategy own: {name} is odd", setting=f"strategy.parameters.{name}")
        faults = pytest.raises((UsageError, ConfigurationError))
        with faults as caught, loaded.places.add_places_to_errors():
            raise error
        return str(caught.value)

    assert placed("period") == f"{file}:3: strategy own: period is odd"
    assert placed("buy") == "--param: strategy own: buy is odd"
    assert placed("sell") == "strategy own: sell is odd"


def test_a_value_outside_its_bounds_names_its_source(file: Path) -> None:
    file.write_text("allow_gaps: true\njobs: 0\n")
    with pytest.raises(ConfigurationError) as caught:
        load(file)
    assert str(caught.value) == f"{file}:2: jobs must be 1 or more, found 0"
    with pytest.raises(UsageError, match=r"^--jobs must be 1 or more, found -1$"):
        load(file, {"jobs": -1})
    assert load(file, {"jobs": 2}).jobs == 2


def test_an_invalid_entry_of_a_flag_is_named_by_flag_and_entry() -> None:
    flags = {"strategy": {"parameters": {"period": ["14"]}}}
    with pytest.raises(UsageError, match=r"^--param: strategy\.parameters\.period: expected str"):
        load(None, flags)


@settings(
    max_examples=count_examples(150),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    deadline=None,
)
@given(
    st.text(max_size=60)
    | st.text("abc:{}[]&*!?|>-#'\",% \n\t", max_size=60)
    | st.lists(
        st.sampled_from(["account:", "  cash: 1", "symbol: [a", "from:", "- x", "*a", "&a {b: *a}"])
    ).map("\n".join)
)
def test_any_text_is_either_valid_settings_or_a_one_line_error(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8", errors="replace")
    error_text = ""
    try:
        load(file)
    except ConfigurationError as error:
        error_text = str(error)
    assert not error_text or error_text.startswith(f"{file}:")


def test_the_users_settings_file_takes_precedence_over_the_projects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_settings_file("app", None) is None
    for folder in ("config", "user/config"):
        Path(folder).mkdir(parents=True)
        Path(folder, "app.yaml").write_text("")
        assert find_settings_file("app", None) == Path(folder, "app.yaml")
    with pytest.raises(ConfigurationError, match=r"^other.yaml does not exist"):
        find_settings_file("app", Path("other.yaml"))


def test_candles_of_the_simulator_have_a_separate_database() -> None:
    assert choose_database_path(None, "binance") == Path("data/onetape.db")
    assert choose_database_path(None, "simulator") == Path("data/simulator.db")
    assert choose_database_path(Path("x.db"), "simulator") == Path("x.db")


BOMB = "a: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"b{level}: &a{level} [{','.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 9)
)
MAPPING_BOMB = "a: &a0 {x: y}\n" + "".join(
    f"b{level}: &a{level} {{{','.join(f'k{one}: *a{level - 1}' for one in range(10))}}}\n"
    for level in range(1, 9)
)
HOSTILE = {
    "lists in lists": ("a: " + "[" * 3_000 + "]" * 3_000, "is nested too deeply"),
    "lists that never end": ("a: " + "[" * 3_000, "is nested too deeply"),
    "mappings in mappings": ("a: " + "{a: " * 3_000 + "}" * 3_000, "is nested too deeply"),
    "aliases of lists": (BOMB, "more than 10,000 values"),
    "aliases of mappings": (MAPPING_BOMB, "more than 10,000 values"),
    "far too much": ("a" * 200_000, "larger than 100,000 bytes"),
    "the end of a C text": ('db: "a\\0b"', "db: 'a\\x00b' is not UTF-8 text"),
    "half a character": ('symbol: ["\\ud800"]', "symbol: '\\ud800' is not UTF-8 text"),
    "in a list": ('symbol: [A/B, "\\0"]', "symbol: '\\x00' is not UTF-8 text"),
    "in a key": ('strategy: {parameters: {"\\0": 1}}', "'\\x00' is not UTF-8 text"),
    "nobody's home": ("db: ~nobody-here/x", "db: expected a path whose ~ is the home of a user"),
    "too much money": (
        "account: {cash: 1e16}",
        "cash must be at most 1,000,000,000,000,000, found 1e+16",
    ),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_file_is_refused_quickly_in_one_line(file: Path, what: str) -> None:
    text, words = HOSTILE[what]
    file.write_text(text)
    began = time.process_time()
    with pytest.raises(ConfigurationError) as caught:
        load(file)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    # Without a bound the aliases alone would take hours and all of the memory.
    assert time.process_time() - began < 5


def test_the_home_folder_may_be_written_as_in_a_shell(file: Path) -> None:
    file.write_text("db: ~/candles.db")
    assert load(file).db == Path.home() / "candles.db"


def test_an_impossible_file_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="File name too long"):
        find_settings_file("app", tmp_path / ("x" * 300))


def test_the_default_folder_of_a_checkout_is_made_private(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir(mode=0o755)
    Path("mine").mkdir(mode=0o755)
    assert choose_database_path(None, "binance") == Path("data/onetape.db")
    assert stat.S_IMODE(Path("data").stat().st_mode) == 0o700
    assert choose_database_path(Path("mine/x.db"), "binance") == Path("mine/x.db")
    assert stat.S_IMODE(Path("mine").stat().st_mode) == 0o755
