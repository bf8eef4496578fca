"""The place in a strategy's own code where an error was raised."""

from pathlib import Path

#: The file that calls strategy functions; its frames do not help the author of a strategy.
_CALLER = str(Path(__file__).with_name("functions.py"))


def format_error_place(error: BaseException) -> str:
    """Return ` (file, line n)` of the innermost frame of the strategy's own code; empty: none.

    Args:
        error: Error that was raised below the calling function, whose frame is left out.
    """
    # Only a strategy that fails needs it.
    import traceback

    frames = traceback.extract_tb(error.__traceback__)
    # Frames of this program and of NumPy do not help the author of the strategy.
    files = [
        frame
        for frame in frames[1:]
        if "site-packages" not in frame.filename and frame.filename != _CALLER
    ]
    return f" ({files[-1].filename}, line {files[-1].lineno})" if files else ""
