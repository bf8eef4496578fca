"""The ledger of trials counts each trial once, and nothing lowers its numbers."""

from pathlib import Path

import pytest

from onetape.core.errors import ConfigurationError
from onetape.optimization.trials_ledger import TrialCounts, TrialsLedger, compute_trial_digest


def make_ledger(folder: Path) -> TrialsLedger:
    return TrialsLedger(folder, "binance", "BTC/USDT")


def compute_digests(*periods: int, code: str = "a") -> list[bytes]:
    return [
        compute_trial_digest({"strategy_digest": code}, {"period": period}) for period in periods
    ]


def test_trials_of_all_strategies_are_counted_once(tmp_path: Path) -> None:
    first = make_ledger(tmp_path)
    first.record_trials("rsi", "1h", compute_digests(1, 2, 3))
    first.record_trials("rsi", "1h", compute_digests(2, 3, 4))
    first.record_trials("macd", "4h", compute_digests(1, 2, code="b"))
    first.record_trials("macd", "4h", compute_digests(1, 2, code="b"))
    assert first.count_trials("rsi", 0, 1) == TrialCounts(market=6, strategy=4, looks=0)
    assert make_ledger(tmp_path).count_trials("macd", 0, 1) == TrialCounts(
        market=6, strategy=2, looks=0
    )
    assert len(first.path.read_bytes().splitlines()) == 3


def test_looks_at_overlapping_out_of_sample_parts_are_counted(tmp_path: Path) -> None:
    book = make_ledger(tmp_path)
    for choice, start, end in ((b"a", 100, 200), (b"b", 150, 300), (b"a", 100, 200)):
        book.record_look("rsi", "1h", choice, start, end)
    assert make_ledger(tmp_path).count_trials("rsi", 120, 160).looks == 2
    assert book.count_trials("rsi", 200, 400).looks == 1
    assert book.count_trials("rsi", 300, 400).looks == 0


def test_another_market_has_another_ledger(tmp_path: Path) -> None:
    make_ledger(tmp_path).record_trials("rsi", "1h", compute_digests(1))
    other = TrialsLedger(tmp_path, "binance", "ETH/USDT")
    assert other.count_trials("rsi", 0, 1).market == 0


def test_a_partial_line_of_a_killed_process_is_removed(tmp_path: Path) -> None:
    make_ledger(tmp_path).record_trials("rsi", "1h", compute_digests(1, 2))
    path = make_ledger(tmp_path).path
    whole = path.read_bytes()
    path.write_bytes(whole + whole[: len(whole) // 2])
    again = make_ledger(tmp_path)
    assert again.count_trials("rsi", 0, 1).market == 2
    again.record_trials("rsi", "1h", compute_digests(3))
    assert make_ledger(tmp_path).count_trials("rsi", 0, 1).market == 3
    assert path.read_bytes().startswith(whole)


def test_two_writers_lose_no_line(tmp_path: Path) -> None:
    one, other = make_ledger(tmp_path), make_ledger(tmp_path)
    one.record_trials("rsi", "1h", compute_digests(1, 2))
    other.record_trials("rsi", "1h", compute_digests(2, 3))
    assert make_ledger(tmp_path).count_trials("rsi", 0, 1).market == 3


@pytest.mark.parametrize(
    "line", [b"nonsense\n", b'{"strategy":"a","timeframe":"1h","trials":"*"}\n']
)
def test_an_invalid_line_is_refused_with_its_file(tmp_path: Path, line: bytes) -> None:
    path = make_ledger(tmp_path).path
    path.write_bytes(line)
    with pytest.raises(ConfigurationError, match=r"binance_BTC-USDT\.jsonl has an invalid line"):
        make_ledger(tmp_path)


def test_a_ledger_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be written"):
        TrialsLedger(tmp_path / "file", "binance", "BTC/USDT").record_trials(
            "rsi", "1h", compute_digests(1)
        )
