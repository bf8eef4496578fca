"""Pauses before a stream is opened again: they grow after connections that ended soon."""

import pytest

from onetape.websocket import redial_pause
from onetape.websocket.redial_pause import RedialPause


@pytest.fixture
def pause(monkeypatch: pytest.MonkeyPatch) -> RedialPause:
    monkeypatch.setattr(redial_pause, "FIRST_PAUSE_SECONDS", 0.2)
    return RedialPause(after_dials=1.0, after_connections=10.0)


def test_failed_dials_pause_up_to_their_maximum(pause: RedialPause) -> None:
    assert [pause.take_next_seconds() for _ in range(5)] == [0.2, 0.4, 0.8, 1.0, 1.0]


def test_brief_connections_pause_up_to_their_maximum(pause: RedialPause) -> None:
    found: list[float] = []
    for _ in range(8):
        pause.note_open()
        found.append(pause.take_next_seconds())
    assert found == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]


def test_a_long_connection_resets_the_pause(
    pause: RedialPause, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(6):
        pause.note_open()
        pause.take_next_seconds()
    monkeypatch.setattr(redial_pause, "STEADY_SECONDS", 0.0)
    pause.note_open()
    assert pause.take_next_seconds() == 0.2
    assert pause.take_next_seconds() == 0.2


def test_failed_dials_in_between_do_not_make_a_brief_connection_count_as_long(
    pause: RedialPause,
) -> None:
    for longest in (0.2, 0.4, 0.8):
        pause.note_open()
        assert pause.take_next_seconds() == longest
        assert pause.take_next_seconds() == 0.2
