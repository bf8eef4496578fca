"""The warning of a failed bias check, as a mark in lists and as a line under a headline."""

from onetape.backtest.records import BiasCheck


def format_fault_mark(check: BiasCheck | None) -> str:
    """Return the fault as a mark such as `! look-ahead`; empty without a fault.

    Args:
        check: The bias check; None: there was nothing to check.
    """
    return f"! {check.kind}" if check is not None and check.clean is False else ""


def format_warning(check: BiasCheck | None) -> str:
    """Return the fault and its meaning, such as `look-ahead: do not trust this result`."""
    if check is None or check.kind is None or not format_fault_mark(check):
        return ""
    # Imported here, because only a faulty strategy needs it.
    from onetape.strategies.sampled_check import describe_meaning

    return f"{check.kind}: {describe_meaning(check.kind)}"


def format_warning_lines(check: BiasCheck | None) -> list[str]:
    """Return the line under the head of a result in a terminal, or none."""
    text = format_warning(check)
    return [f"! {text} (below: bias check)"] if text else []
