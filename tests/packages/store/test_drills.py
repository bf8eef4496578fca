"""Drills of configurations: the newest one of a digest counts."""

from pathlib import Path

from onetape.store.database import open_store
from onetape.store.drills import StoredDrill, insert_drill, read_last_drill


def test_the_newest_drill_of_a_configuration_is_used(tmp_path: Path) -> None:
    passed = StoredDrill("a" * 64, 2_000, True, {"kill": "passed"})
    failed = StoredDrill("a" * 64, 1_000, False, {"kill": "sold twice"})
    with open_store(tmp_path / "x.db", create=True) as store:
        assert read_last_drill(store, "a" * 64) is None
        insert_drill(store, passed)
        assert read_last_drill(store, "a" * 64) == passed
        insert_drill(store, failed)
        assert read_last_drill(store, "a" * 64) == failed
        assert read_last_drill(store, "b" * 64) is None
