"""Commands of a person give a pause and the positions to close."""

from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from onetape.execution.controls import ControlCommand, ControlVerb, fold_controls

verbs = st.sampled_from(get_args(ControlVerb))


def make_commands(given_verbs: list[ControlVerb], *, is_done: bool = False) -> list[ControlCommand]:
    return [ControlCommand(i, verb, i, "anna", is_done) for i, verb in enumerate(given_verbs)]


def test_no_command_allows_entries_and_closes_nothing() -> None:
    state = fold_controls([])
    assert (state.pause, state.closing) == (None, ())


def test_a_pause_applies_from_its_first_command_until_a_resume() -> None:
    paused = fold_controls(make_commands(["pause", "flatten", "pause"]))
    assert paused.pause is not None
    assert paused.pause.number == 0
    assert fold_controls(make_commands(["pause", "flatten", "resume"])).pause is None


@given(st.lists(verbs, max_size=12))
def test_entries_are_forbidden_exactly_where_a_pause_came_after_the_last_resume(
    given_verbs: list[ControlVerb],
) -> None:
    after = given_verbs[::-1]
    since = after[: after.index("resume")] if "resume" in after else after
    state = fold_controls(make_commands(given_verbs))
    assert (state.pause is not None) == bool({"pause", "halt", "flatten"} & set(since))
    assert (state.halt is not None) == ("halt" in since)


@given(st.lists(verbs, max_size=12))
def test_each_exit_command_is_executed_once(given_verbs: list[ControlVerb]) -> None:
    closing = fold_controls(make_commands(given_verbs)).closing
    wanted = [i for i, verb in enumerate(given_verbs) if verb in ("exit", "flatten")]
    assert [one.number for one in closing] == wanted
    assert fold_controls(make_commands(given_verbs, is_done=True)).closing == ()


def test_an_exit_command_closes_its_symbol_or_without_a_symbol_all() -> None:
    of_bitcoin = ControlCommand(1, "exit", 1, "anna", symbol="BTC/USDT")
    of_all = ControlCommand(2, "exit", 2, "anna")
    assert fold_controls([of_bitcoin, of_all], "BTC/USDT").closing == (of_bitcoin, of_all)
    assert fold_controls([of_bitcoin, of_all], "ETH/USDT").closing == (of_all,)
