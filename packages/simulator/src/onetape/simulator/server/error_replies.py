"""Binance's own error replies: HTTP status, code and text.

A handler raises a `Refusal`; the server makes the reply from it.
"""

from onetape.simulator.server.wire import JsonObject


class Refusal(Exception):
    """A request whose response is an error, in Binance's form."""

    def __init__(
        self, code: int, message: str, status: int = 400, data: JsonObject | None = None
    ) -> None:
        """Take Binance's error code, its text, the HTTP status and other fields of the body."""
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.data = data

    def make_body(self) -> JsonObject:
        """Return the reply's body."""
        body: JsonObject = {"code": self.code, "msg": self.message}
        return body if self.data is None else body | {"data": self.data}


def make_invalid_symbol_refusal() -> Refusal:
    """Return the reply to a symbol that is not listed."""
    return Refusal(-1121, "Invalid symbol.")


def make_invalid_interval_refusal() -> Refusal:
    """Return the reply to an interval that klines do not have."""
    return Refusal(-1120, "Invalid interval.")


def make_missing_parameter_refusal(parameter: str) -> Refusal:
    """Return the reply to a request without a parameter that it needs."""
    text = f"Mandatory parameter '{parameter}' was not sent, was empty/null, or malformed."
    return Refusal(-1102, text)


def make_illegal_characters_refusal(parameter: str, pattern: str) -> Refusal:
    """Return the reply to a parameter with characters outside the pattern."""
    text = f"Illegal characters found in parameter '{parameter}'; legal range is '{pattern}'."
    return Refusal(-1100, text)


def make_invalid_value_refusal(parameter: str) -> Refusal:
    """Return the reply to a parameter with an invalid value."""
    return Refusal(-1130, f"Data sent for parameter '{parameter}' is not valid.")


def make_invalid_combination_refusal() -> Refusal:
    """Return the reply to parameters that exclude each other."""
    return Refusal(-1128, "Combination of optional parameters invalid.")
