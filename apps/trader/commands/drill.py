"""`trader drill`: tries a configuration with live orders on the simulator and its faults."""

import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onetape.cli import options
from onetape.cli.flag_values import collect_flag_values
from onetape.cli.flags import takes_settings
from onetape.core.errors import CheckFailed, UsageError
from trader.commands.account_selection import CONFIG
from trader.settings import TraderSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trader.drill.runner import Drill, PartResult
    from trader.drill.scenarios import Scenario


@takes_settings(TraderSettings, after={"config": "--db", "params_from": "--param"})
def start_drill(
    *,
    config: CONFIG = None,
    params_from: options.ParamsFrom = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only",
            metavar="TEXT",
            help="Run only parts whose name contains TEXT; repeat for several. Not stored.",
        ),
    ] = None,
    at_once: Annotated[
        int | None,
        typer.Option(
            "--at-once",
            metavar="N",
            min=1,
            help="Number of parts that run at a time.  [default: 4]",
        ),
    ] = None,
    json: options.Json = False,
    **flags: Any,
) -> None:
    """Try your settings with live orders on a simulator that fails.

    The drill needs no key and no network, and takes about three minutes. The result is stored: the
    first live entry of an account needs a passed drill.

    Exit codes: 0 all parts passed, 6 a part did not pass.
    """
    from onetape.cli.loading import find_settings_file
    from onetape.cli.output import get_terminal_width, note, print_json, print_line
    from trader.drill.runner import make_drill, run_drill
    from trader.drill.trader_process import COMMAND
    from trader.rendering.drill import format_drill, make_drill_document
    from trader.run_parameters import load_trader_settings
    from trader.start_settings import check_settings

    file = find_settings_file("trader", config)
    given = {**collect_flag_values(TraderSettings, flags), "mode": "paper", "sandbox": False}
    loaded = load_trader_settings(file, given, params_from)
    settings = loaded.settings
    with loaded.places.add_places_to_errors():
        check_settings(settings)
        drill = make_drill(settings, COMMAND)
    if loaded.run_text:
        note(loaded.run_text)
    scenarios = _choose_scenarios(only)
    signal.signal(signal.SIGTERM, _exit_on_signal)
    found = run_drill(drill, scenarios, at_once or 4, _print_result)
    if only is None:
        _record(drill, found)
    failed = sum(not one.is_passed for one in found)
    if json:
        print_json(make_drill_document(settings, found, is_recorded=only is None))
    else:
        print_line(
            format_drill(settings, found, width=get_terminal_width(), is_recorded=only is None)
        )
    if failed:
        raise CheckFailed(f"{failed} of {len(found)} parts of the drill did not pass")


def _exit_on_signal(number: int, frame: object) -> None:
    """Handle SIGTERM: raise SystemExit, so that traders are ended and files are removed."""
    del frame
    sys.exit(128 + number)


def _choose_scenarios(only: list[str] | None) -> "list[Scenario]":
    """Return the scenarios to play; each is one part of the drill.

    Args:
        only: Values of --only; None: all.

    Raises:
        UsageError: no scenario has such a text in its name.
    """
    from trader.drill.scenarios import SCENARIOS

    playable = [one for one in SCENARIOS if one.is_playable]
    chosen = [one for one in playable if only is None or any(text in one.name for text in only)]
    if not chosen:
        names = ", ".join(one.name for one in playable)
        raise UsageError(f"--only: no part has that text in its name; there are: {names}")
    return chosen


def _print_result(result: "PartResult") -> None:
    """Print the result of one part to stderr."""
    from onetape.cli.output import note

    verdict = "passed" if result.is_passed else "NOT passed"
    note(f"{result.name}: {verdict}, {result.seconds:.0f} s")


def _record(drill: "Drill", found: "Sequence[PartResult]") -> Path:
    """Store the results of a drill in the database of its settings; return its path."""
    from onetape.core.folders import choose_database_path
    from onetape.store.database import open_store
    from onetape.store.drills import OWN_STOPS, StoredDrill, insert_drill
    from trader.config_digest import compute_config_digest

    settings = drill.settings
    path = choose_database_path(settings.db, settings.exchange)
    results: dict[str, Any] = {f"{one.name}, {one.symbol}": one.observed for one in found}
    if drill.own_stops:
        results[OWN_STOPS] = sorted(drill.own_stops)
    stored = StoredDrill(
        compute_config_digest(settings),
        time.time_ns() // 1_000_000,
        all(one.is_passed for one in found),
        results,
    )
    with open_store(path, create=True) as store:
        insert_drill(store, stored)
    return path
