"""The chart library: TradingView Lightweight Charts (Apache-2.0), out of the installed wheel.

The wheel `litecharts` contains the library's standalone build. The wheel's Python code is never
imported, and the library's file is never copied into this repository. The licence header stays in
the text; the page shows the notice and the link that the library's NOTICE requires.
"""

import importlib.util
from pathlib import Path

from onetape.core.errors import ConfigurationError


def read_chart_library() -> str:
    """Return the JavaScript text of the chart library.

    Raises:
        ConfigurationError: the wheel is not installed, or holds no chart library.
    """
    spec = importlib.util.find_spec("litecharts")  # finds the folder, runs nothing of it
    origin = spec.origin if spec else None
    path = Path(origin or "").parent / "js" / "lightweight-charts.js"
    try:
        return path.read_text(encoding="utf-8").rstrip()
    except OSError as error:
        raise ConfigurationError(
            f"the chart library {path} of the package litecharts cannot be read; run: uv sync"
        ) from error
