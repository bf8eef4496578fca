"""The levels in force for a position after the rows of further candles."""

from onetape.core.strategy_levels import LevelRow, update_levels


def test_row_144_a_row_without_a_stop_keeps_the_stop_and_a_lower_one_does_not_move_it() -> None:
    held = update_levels(LevelRow(stop=95.0, stop_mode="each_candle"), None)
    for stop, expected in ((97.0, 97.0), (None, 97.0), (90.0, 97.0), (98.0, 98.0)):
        held = update_levels(held, LevelRow(stop=stop, stop_mode="each_candle"))
        assert held is not None
        assert held.stop == expected


def test_row_144_a_stop_at_the_entry_is_not_moved_by_a_later_row() -> None:
    held = update_levels(LevelRow(stop=95.0), LevelRow(stop=97.0, target=110.0))
    assert held is not None
    assert (held.stop, held.target) == (95.0, None)
