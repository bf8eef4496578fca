"""Writer of the files made of declarations: config/*.yaml, tables of docs/rules.md and metrics.md.

    uv run python tools/settings_reference.py            # writes the files
    uv run python tools/settings_reference.py --check    # ends with 6 where a file is another one

Each setting is declared once, on a field; see packages/core/src/onetape/core/setting.py. Each
metric is defined in packages/backtest/src/onetape/backtest/metric_definitions.py.
"""

import math
import sys
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import msgspec

from backfiller.settings import BackfillerSettings
from backtester.settings import BacktesterSettings
from onetape.backtest.metric_definitions import DEFINITIONS, UNIT_TEXTS
from onetape.cli.flag_values import is_repeated, list_number_settings
from onetape.cli.flags import format_default
from onetape.core.fee_tiers import PACKAGED_FILE, FeeSchedule, FeeTier
from onetape.core.setting import DeclaredSetting, collect_settings
from onetape.engine.account_config import AccountConfig
from onetape.execution.risk_limits import RiskLimits
from trader.settings import TraderSettings

ROOT: Final = Path(__file__).resolve().parent.parent
RULES: Final = Path("docs", "rules.md")
METRICS: Final = Path("docs", "metrics.md")
#: Columns of a YAML file at which comments begin and lines end.
_COMMENT, _WIDTH = 26, 100
#: Comment after the name of a section.
_SECTION_NOTES: Final = {
    "account": "docs/rules.md: each key with its formula and its flag",
    "exits": "in addition to the strategy's SELL",
    "risk": "limits of live entries; docs/rules.md",
}


class Program(NamedTuple):
    """A program with a YAML file."""

    name: str
    """Name of the program."""
    does: str
    """Verb that describes the effect of `uv run NAME` with this file."""
    variable: str
    """Example of an environment variable, without the program's name."""
    model: type[msgspec.Struct]
    """Struct of the program's settings."""


PROGRAMS: Final = (
    Program("backfiller", "fetches", "EXCHANGE=kraken", BackfillerSettings),
    Program("backtester", "replays", "ACCOUNT__CASH=500", BacktesterSettings),
    Program("trader", "does", "STRATEGY__NAME=macd", TraderSettings),
)


def main(arguments: list[str]) -> int:
    """Write the files, or compare them with `--check`; return the exit code."""
    is_check = arguments == ["--check"]
    if arguments and not is_check:
        print(__doc__)
        return 2
    differing = 0
    for path, text in generate_files(ROOT).items():
        file = ROOT / path
        if file.read_text(encoding="utf-8") == text:
            continue
        differing += 1
        if is_check:
            print(f"{path} differs; run: uv run python tools/settings_reference.py")
        else:
            file.write_text(text, encoding="utf-8")
            print(f"{path} written")
    return 6 if is_check and differing else 0


def generate_files(root: Path) -> dict[Path, str]:
    """Return each generated file with its text.

    Args:
        root: Folder of the checkout, whose docs have the text around the tables.
    """
    files = {Path("config", f"{each.name}.yaml"): make_yaml(each) for each in PROGRAMS}
    rules, metrics = ((root / page).read_text(encoding="utf-8") for page in (RULES, METRICS))
    for section in ("account", "exits", "risk"):
        rules = replace_table(rules, f"settings: {section}", iterate_setting_rows(section), RULES)
    rules = replace_table(rules, "fee tiers", iterate_fee_tier_rows(), RULES)
    return {
        **files,
        RULES: rules,
        METRICS: replace_table(metrics, "metrics", iterate_metric_rows(), METRICS),
    }


def make_yaml(program: Program) -> str:
    """Return the commented YAML file of a program, with all its settings at their defaults.

    A setting with a `file_default` has that value.
    """
    name = program.name
    header = (
        f"What `uv run {name}` {program.does} without flags. Your own copy goes to "
        f"user/config/{name}.yaml, which git ignores. Flags take precedence over the environment "
        f"({name.upper()}__{program.variable}), the environment over this file."
    )
    lines = [*textwrap.wrap(header, _WIDTH - 2, break_on_hyphens=False)]
    body = list(_iterate_yaml(program.model))
    return "\n".join([*(f"# {line}" for line in lines), "", *body, ""])


def _iterate_yaml(model: type[msgspec.Struct]) -> Iterator[str]:
    sections: dict[str, list[DeclaredSetting]] = {}
    for key, each in collect_settings(model).items():
        section, dot, _ = key.rpartition(".")
        sections.setdefault(section if dot else key, []).append(each)
    was_section = False
    for name, members in sections.items():
        is_section = members[0].key != name
        if is_section or was_section:
            yield ""
        if is_section:
            yield from _iterate_commented(f"{name}:", _SECTION_NOTES.get(name, ""))
        for each in members:
            indent = "  " if is_section else ""
            yield from _iterate_commented(
                f"{indent}{each.name}: {_format_scalar(each.file_value)}", _format_note(model, each)
            )
        was_section = is_section


def _iterate_commented(text: str, comment: str) -> Iterator[str]:
    text = text.rstrip()
    if not comment:
        yield text
        return
    column = max(_COMMENT, len(text) + 1)
    first, *others = textwrap.wrap(comment, _WIDTH - column - 2, break_on_hyphens=False)
    yield f"{text:{column}}# {first}"
    for line in others:
        yield f"{'':{column}}# {line}"


def _format_scalar(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{', '.join(cast('list[str]', value))}]"
    if isinstance(value, dict):
        return "{}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _format_note(model: type[msgspec.Struct], declared: DeclaredSetting) -> str:
    """Return the help of a setting as a comment: no capital, no full stop."""
    numbers = list_number_settings(model, declared)
    names = f"one of the next {len(numbers)} by name"
    example = declared.setting.file_example
    text = declared.setting.help.replace("{numbers}", names).removesuffix(".")
    if "{example}" in text:
        text = text.replace("{example}", example)
    elif example:
        text = f"{text}; several as {example}" if is_repeated(declared) else text
    is_word = text[1:2].islower() or text[1:2] == " "
    text = text[0].lower() + text[1:] if is_word else text
    return f"{text}; empty: {declared.setting.empty}" if declared.setting.empty else text


def replace_table(page: str, name: str, lines: Iterable[str], path: Path) -> str:
    """Return a page with these lines between the two marks of a table.

    Raises:
        ValueError: the page lacks a mark.
    """
    start, end = f"<!-- {name} -->\n", f"<!-- end of {name.partition(':')[0]} -->"
    before, _, rest = page.partition(start)
    _, _, after = rest.partition(end)
    if not rest or not after:
        msg = f"{path} lacks {start.strip()} or the mark of its end"
        raise ValueError(msg)
    return "".join([before, start, *lines, end, after])


def iterate_metric_rows() -> Iterator[str]:
    """Yield the lines of the table of metrics."""
    yield "| metric | field | unit | formula | source |\n|---|---|---|---|---|\n"
    for each in DEFINITIONS:
        unit = UNIT_TEXTS[each.unit]
        yield f"| {each.label} | `{each.field}` | {unit} | {each.formula} | {each.source} |\n"


def iterate_fee_tier_rows() -> Iterator[str]:
    """Yield the lines of the table of the fee tiers that come with the code."""
    yield "| exchange | tiers: maker / taker in % | source |\n|---|---|---|\n"
    schedules = msgspec.json.decode(PACKAGED_FILE.read_bytes(), type=dict[str, FeeSchedule])
    for exchange, schedule in schedules.items():
        tiers = ", ".join(_format_fee_tier(tier, schedule.currency) for tier in schedule.tiers)
        if schedule.volume_below < math.inf:
            tiers += f"; not stored from {schedule.volume_below:,.0f} {schedule.currency} on"
        yield f"| `{exchange}` | {tiers} | {schedule.source} |\n"


def _format_fee_tier(tier: FeeTier, currency: str) -> str:
    begin = f"from {tier.volume:,.0f} {currency}" if tier.volume else "from 0"
    name = f"`{tier.name}` {begin}" if tier.name else begin
    return f"{name}: {100 * tier.maker:.3g} / {100 * tier.taker:.3g}"


def iterate_setting_rows(section: str) -> Iterator[str]:
    """Yield the lines of the table of `account`, `exits` or `risk`."""
    declared = collect_settings(RiskLimits if section == "risk" else AccountConfig)
    yield "| key | what it does | unit | default | flag |\n|---|---|---|---|---|\n"
    for each in _list_section_settings(declared.values(), section):
        flag = _format_flag(each)
        cells = (
            f"`{each.name}`",
            each.setting.rule or _lower_first_letter(each.setting.help.removesuffix(".")),
            each.setting.unit,
            format_default(each) or ("no" if each.default is False else "none"),
            f"`{flag}`" if flag else "",
        )
        yield f"| {' | '.join(cells)} |\n"


def _list_section_settings(
    declared: Iterable[DeclaredSetting], section: str
) -> list[DeclaredSetting]:
    return [
        each
        for each in declared
        if each.path[0] == section or (len(each.path) == 1 and section in ("account", "risk"))
    ]


def _format_flag(declared: DeclaredSetting) -> str:
    setting: Any = declared.setting
    if setting.number_of:
        return f"--{setting.number_of} {declared.name}={setting.example}"
    return f"{declared.flag} {setting.example}".strip()


def _lower_first_letter(text: str) -> str:
    return text[0].lower() + text[1:]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
