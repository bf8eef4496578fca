"""Client order ids of live orders: 8 hexadecimal digits of the database, then 24 random ones.

The first 8 (the tag) are drawn once and stored in the database. They show at the exchange which
orders this database has sent.
"""

from typing import Final
from uuid import uuid4

TAG_LENGTH: Final = 8


def make_order_id(tag: str) -> str:
    """Return a new id of 32 hexadecimal digits.

    Args:
        tag: The database's tag, `TAG_LENGTH` digits.
    """
    return tag + uuid4().hex[TAG_LENGTH:]
