"""The seed of a simulated file: each seed is a market of its own, and two would look like one."""

from onetape.core.errors import StoreError
from onetape.store.database import Store


def hold_to_seed(store: Store, seed: int) -> None:
    """Hold a simulated file to one seed: the first one stays, every other one is refused.

    Args:
        store: A database that holds no real candles.
        seed: Of the simulator that is about to be read.

    Raises:
        StoreError: the file belongs to another seed, or cannot be written.
    """
    if _stored(store) is None:
        with store.write() as connection:
            connection.execute(
                "INSERT INTO store_kind (only_row, simulated, seed) VALUES (1, 1, ?) "
                "ON CONFLICT (only_row) DO UPDATE SET seed = ifnull(seed, excluded.seed)",
                (str(seed),),
            )
    stored = _stored(store)
    if stored != str(seed):
        raise StoreError(
            f"{store.path} holds the market of the simulator's seed {stored}, this simulator "
            f"invents that of seed {seed}; start it with --seed {stored}, or choose another file "
            "with --db"
        )


def _stored(store: Store) -> str | None:
    with store.read() as connection:
        return connection.execute("SELECT seed FROM store_kind").get
