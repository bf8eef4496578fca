"""A plain command line is read without Typer, and gives what Typer would give."""

from typing import Any

import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.exceptions import TyperException

from backtester.entry import OWN_FLAGS
from backtester.main import app
from backtester.settings import BacktesterSettings
from onetape.cli.plain_flags import collect_plain_flags, read_plain

COMMAND = typer.main.get_command(app)
FLAGS = collect_plain_flags(BacktesterSettings, OWN_FLAGS)
TEXTS = st.one_of(
    st.sampled_from(["1", "0.5", "1e3", "5 ", "", "nan", "fast=10", "BTC/USDT", "-1", "--json"]),
    st.text(alphabet=st.characters(codec="utf-8"), max_size=3),
)
SWITCHES = sorted(flag for flag, each in FLAGS.items() if each.kind is bool)
#: Words that a command line may be made of: mostly flags, each with a value, and switches.
WORDS = st.one_of(
    st.tuples(st.sampled_from(SWITCHES)),
    st.tuples(st.sampled_from(SWITCHES)),
    st.tuples(st.sampled_from(sorted(FLAGS)), TEXTS),
    st.tuples(st.sampled_from([*sorted(FLAGS), "--watch", "--", "list", "--cash=5", "-h"])),
)


def read_by_typer(arguments: list[str]) -> dict[str, Any] | None:
    """Return the values that Typer reads; None if Typer refuses the line, or it names a command."""
    try:
        context = COMMAND.make_context("backtester", list(arguments))
    except TyperException:
        return None
    # Of a flag that may be repeated Typer gives a tuple; an empty one is a flag that is not given.
    values: dict[str, Any] = {
        name: [*value] or None if isinstance(value, tuple) else value
        for name, value in context.params.items()
    }
    return {name: None if value == [] else value for name, value in values.items()}


def test_every_flag_except_watch_is_read_without_typer() -> None:
    options = {
        flag: option.name
        for option in COMMAND.params
        for flag in (*option.opts, *option.secondary_opts)
    }
    assert {flag: each.parameter for flag, each in FLAGS.items()} == {
        flag: name for flag, name in options.items() if flag not in ("--watch", "--help")
    }


@settings(max_examples=60)
@given(words=st.lists(WORDS, max_size=6))
def test_flags_are_read_as_typer_reads_them(words: list[tuple[str, ...]]) -> None:
    arguments = [word for part in words for word in part]
    plain = read_plain(arguments, FLAGS)
    if plain is not None:
        by_typer = read_by_typer(arguments)
        assert by_typer is not None
        # A switch of the program's own that is not given is False to Typer.
        switches = {name: bool(plain.get(name)) for name in ("json_", "no_report", "watch")}
        # As text: `nan` is not equal to itself.
        assert repr(sorted(by_typer.items())) == repr(sorted({**plain, **switches}.items()))


def test_a_line_of_flags_with_values_is_read_without_typer() -> None:
    line = "-s sma_cross --param fast=5 --param slow=9 --cash 5e3 --cooldown 3 --no-check --json"
    found = read_plain(line.split(), FLAGS)
    assert found is not None
    assert {name: value for name, value in found.items() if value is not None} == {
        "strategy": "sma_cross",
        "param": ["fast=5", "slow=9"],
        "cash": 5_000.0,
        "cooldown": 3,
        "check": False,
        "json_": True,
    }
