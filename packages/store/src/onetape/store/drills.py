"""Read and write the table `drills`: live configurations that were tested against the simulator."""

import json
from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from onetape.store.connection import insert_row
from onetape.store.database import Store

#: Name in `results` of the symbols whose strategy gives a stop; no part has this name.
OWN_STOPS: Final = "stop of the strategy"


class StoredDrill(Struct, frozen=True):
    """The result of one drill."""

    config_digest: str
    """Digest of the tested settings."""
    finished_ms: int
    """End of the drill by the computer's clock, epoch milliseconds."""
    is_passed: bool
    """Whether every part of the drill passed."""
    results: Mapping[str, Any]
    """Result of each part of the drill by name, as JSON can hold it; `OWN_STOPS`: symbols."""

    @property
    def own_stops(self) -> tuple[str, ...]:
        """Return the symbols whose strategy gives a stop, in their order by name."""
        return tuple(map(str, self.results.get(OWN_STOPS, ())))


def insert_drill(store: Store, drill: StoredDrill) -> None:
    """Store a drill.

    Raises:
        StoreError: the file cannot be written.
    """
    with store.write(durable=True) as connection:
        insert_row(
            connection,
            "drills",
            {
                "config_digest": drill.config_digest,
                "finished_ms": drill.finished_ms,
                "is_passed": int(drill.is_passed),
                "results": json.dumps(dict(drill.results), sort_keys=True),
            },
        )


def read_last_drill(store: Store, config_digest: str) -> StoredDrill | None:
    """Return the newest drill of a configuration; None: no drill is stored.

    Raises:
        StoreError: the file cannot be read.
    """
    with store.read() as connection:
        rows = connection.execute(
            "SELECT config_digest, finished_ms, is_passed, results FROM drills "
            "WHERE config_digest = ? ORDER BY id DESC LIMIT 1",
            (config_digest,),
        ).fetchall()
    if not rows:
        return None
    digest, finished_ms, is_passed, results = rows[0]
    return StoredDrill(digest, finished_ms, bool(is_passed), json.loads(results))
