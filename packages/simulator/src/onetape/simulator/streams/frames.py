"""Encoding of many WebSocket text frames into one piece of memory, which one call sends."""

from collections.abc import Iterable
from typing import Final

#: The last frame of a message, and its text.
_TEXT: Final = 0x81


def encode_text_frames(texts: Iterable[str]) -> bytes:
    """Return each text as a separate frame (RFC 6455, 5.2: unmasked, not compressed)."""
    parts: list[bytes] = []
    for text in texts:
        payload = text.encode()
        length = len(payload)
        if length < 126:
            parts.append(bytes((_TEXT, length)))
        elif length < 1 << 16:
            parts.append(bytes((_TEXT, 126)) + length.to_bytes(2, "big"))
        else:
            parts.append(bytes((_TEXT, 127)) + length.to_bytes(8, "big"))
        parts.append(payload)
    return b"".join(parts)
