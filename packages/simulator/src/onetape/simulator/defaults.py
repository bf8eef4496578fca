"""Defaults of a simulator: its address on this computer, and the seed of its market."""

from typing import Final

DEFAULT_PORT: Final = 8790
DEFAULT_URL: Final = f"http://127.0.0.1:{DEFAULT_PORT}"
#: Default seed of the invented market.
DEFAULT_SEED: Final = 7
