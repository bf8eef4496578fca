"""What every socket of a simulator shares beside the market: faults, states and limits."""

from dataclasses import dataclass

from onetape.simulator.faults.registry import Faults
from onetape.simulator.faults.states import States
from onetape.simulator.limits import Limits


@dataclass(frozen=True, slots=True)
class House:
    """The rules of the house, for whoever opens a socket."""

    faults: Faults
    states: States
    limits: Limits
    sockets_end: bool
    """Whether a socket ends after 24 hours of market time, as Binance's do."""
