"""Client order ids of live orders: the installation's tag, then random digits, 32 in all."""

from typing import Final
from uuid import uuid4

TAG_LENGTH: Final = 8


def make_order_id(tag: str) -> str:
    """Return an id that was never used: 8 digits of the installation and 24 random ones."""
    return tag + uuid4().hex[TAG_LENGTH:]
