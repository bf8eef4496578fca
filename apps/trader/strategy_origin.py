"""The file and class of a strategy, because two files may have strategies of one name.

A session stores file and class together with its rules. Changed code of the same file is the same
strategy. Another file is another strategy, unless its code is equal, or the old file is gone: then
the file was moved.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from onetape.cli.common_settings import StrategySettings
from onetape.core.errors import SafetyRefusal
from onetape.core.folders import USER_FOLDER
from onetape.core.trading import Session
from onetape.store.marked_decisions import INFORMATIVE
from onetape.strategies.registry import find_strategy_file
from trader.account import OTHER_ACCOUNT_HINT
from trader.settings import TraderSettings

if TYPE_CHECKING:
    from trader.evaluator.results import StrategyEvaluator

#: Key in the rules of a session; missing in sessions of an earlier version.
ORIGIN: Final = "strategy_file"
#: Key in the rules of a session whose parameters come from a saved run: a text about the run.
PARAMS_FROM: Final = "params_from"


def find_strategy_origin(name: str, class_name: str = "") -> str:
    """Return file and class of a strategy, such as `user/mine.py:Mine`; empty: it is built in.

    Args:
        name: Name of the strategy, as for `load_strategy`.
        class_name: Name of the loaded class; empty: the class that `name` states, if any.

    Returns:
        The path from the working folder, or the absolute path of a file elsewhere; a colon and the
        class follow if the class is known.
    """
    file = find_strategy_file(name, USER_FOLDER)
    if file is None:
        return ""
    path, folder = file.resolve(), Path.cwd().resolve()
    text = path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)
    if not class_name and ":" in name and not name.endswith(".py"):
        class_name = name.rpartition(":")[2]
    return f"{text}:{class_name}" if class_name else text


def find_loaded_origin(evaluator: "StrategyEvaluator") -> str:
    """Return the file and the class of a loaded strategy; empty: a built-in strategy."""
    return find_strategy_origin(evaluator.settings.name, evaluator.strategy.class_name)


def get_stored_origin(session: Session | None) -> dict[str, Any]:
    """Return the rules of `get_origin_rules` of a session; empty: no session."""
    return {} if session is None else get_origin_rules(session.rules)


def get_stored_file(session: Session | None) -> str:
    """Return the strategy file of a session; empty: no session, or a built-in strategy."""
    return _parse_file(str(get_stored_origin(session).get(ORIGIN, "")))


def get_origin_rules(rules: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of a session's rules that state strategy file, saved run and other markets."""
    names = (ORIGIN, PARAMS_FROM, INFORMATIVE)
    return {name: value for name, value in rules.items() if name in names}


def make_params_origin(
    settings: TraderSettings, strategy: StrategySettings, before: Mapping[str, Any]
) -> dict[str, str]:
    """Return the rule that states the saved run of a session's parameters; empty: no saved run.

    Args:
        settings: Settings of the trader.
        strategy: Strategy that the session trades with.
        before: Rules of the last session of the series; empty: there was none.
    """
    if settings.params_from is None:
        # The session goes on with the parameters of the last one.
        return {PARAMS_FROM: str(before[PARAMS_FROM])} if PARAMS_FROM in before else {}
    if not settings.params_from or strategy != settings.strategy:
        return {}
    return {PARAMS_FROM: settings.params_from}


def is_of_other_file(session: Session | None, evaluator: "StrategyEvaluator") -> bool:
    """Return whether a strategy is another one than a session's of the same name.

    It is, if it comes from another file with other code, or from another class of the same file. A
    session of an earlier version has not stored the class; then it may be any class of the file.

    Args:
        session: Session with a strategy of the same name; None: no such session.
        evaluator: Evaluator that has loaded the strategy.
    """
    if session is None or ORIGIN not in session.rules:
        return False
    stored, now = str(session.rules[ORIGIN]), find_loaded_origin(evaluator)
    if len({_parse_class_name(stored), _parse_class_name(now)} - {""}) > 1:
        return True
    if _parse_file(stored) == _parse_file(now):
        return bool(stored) and not _parse_class_name(stored) and evaluator.strategy.has_others
    if session.code_digest == evaluator.strategy.code_digest:
        return False
    return not stored or Path(_parse_file(stored)).exists()


def check_origin(session: Session | None, evaluator: "StrategyEvaluator") -> None:
    """Refuse a strategy that has the name of the account's strategy and is another one.

    Args:
        session: Last session of account and symbol; None: no session yet.
        evaluator: Evaluator that has loaded the strategy.

    Raises:
        SafetyRefusal: the strategy comes from another file or class.
    """
    if session is None or session.strategy != evaluator.strategy.name:
        return
    if is_of_other_file(session, evaluator):
        stored = str(session.rules[ORIGIN])
        if stored and stored == _parse_file(find_loaded_origin(evaluator)):
            raise SafetyRefusal(
                f"account {session.account} trades {session.symbol} by strategy "
                f"{session.strategy} of {stored}, which holds several strategies now, and an "
                "earlier version has not stored which of them it was; leave only that one in the "
                f"file, or {OTHER_ACCOUNT_HINT}"
            )
        raise SafetyRefusal(
            f"account {session.account} trades {session.symbol} by strategy {session.strategy} "
            f"{describe_origin(stored)}, not {describe_origin(find_loaded_origin(evaluator))}; "
            f"use --strategy {stored or session.strategy}, or {OTHER_ACCOUNT_HINT}"
        )


def describe_origin(origin: str) -> str:
    """Return a text with the origin of a strategy: `of user/mine.py:Mine`, `that is built in`."""
    return f"of {origin}" if origin else "that is built in"


def _parse_file(origin: str) -> str:
    path, colon, _ = origin.rpartition(":")
    return path if colon and path.endswith(".py") else origin


def _parse_class_name(origin: str) -> str:
    return origin[len(_parse_file(origin)) + 1 :]
