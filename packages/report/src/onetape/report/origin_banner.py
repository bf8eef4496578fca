"""The banner of a page whose candles come from the simulator."""

from typing import Final

from onetape.core.simulated import Origin

_HEADS: Final = {
    "invented": ("Invented market.", "These prices were made up by the simulator."),
    "inside recorded": (
        "Invented inside recorded candles.",
        "The simulator made these prices up to fit longer recorded candles.",
    ),
    "unknown": (
        "Simulated market.",
        "These prices are invented or replayed by the simulator; the file does not state which.",
    ),
}


def render_origin_banner(origin: Origin | None, invented: str) -> str:
    """Return the banner as HTML; empty for candles of a real exchange.

    Args:
        origin: Origin of simulated candles; None for a real exchange.
        invented: Sentence about results on invented prices.
    """
    if origin is None:
        return ""
    if origin == "recorded":
        head, text = "Recorded candles.", "The simulator replayed them from a file."
    else:
        head, text = _HEADS[origin]
        text = f"{text} {invented}"
    return f'<p class="banner" role="note"><strong>{head}</strong> {text}</p>'
