"""The beginning and the end of an output of any length, in bounded memory."""

from __future__ import annotations

_KEPT = {9, 10}  # tab and newline
_UNPRINTABLE = dict.fromkeys({*range(32), *range(127, 160)} - _KEPT, "\N{REPLACEMENT CHARACTER}")
_BYTES_PER_CHARACTER = 4  # at most, in UTF-8


class Clip:
    """Keeps the first and the last `limit / 2` characters of what is added.

    Args:
        limit: Characters to keep.
    """

    def __init__(self, limit: int) -> None:
        self._half = max(1, limit // 2)
        self._room = self._half * _BYTES_PER_CHARACTER
        self._head = bytearray()
        self._tail = bytearray()
        self.size = 0
        """Bytes added so far."""

    def add(self, data: bytes) -> None:
        """Take the next piece."""
        self.size += len(data)
        missing = self._room - len(self._head)
        self._head += data[:missing]
        self._tail += data[missing:]
        if len(self._tail) > 4 * self._room:  # not at every piece: moving bytes costs
            del self._tail[: -self._room]

    def text(self) -> tuple[str, bool]:
        """The kept text with a note where something is left out, and whether it is."""
        lost = self.size - len(self._head) - len(self._tail)
        if lost == 0:
            whole = _clean(bytes(self._head + self._tail))
            if len(whole) <= 2 * self._half:
                return whole, False
            left_out = len(whole) - 2 * self._half
            return f"{whole[: self._half]}\n[... {left_out} characters left out ...]\n{whole[-self._half :]}", True
        head, tail = _clean(bytes(self._head))[: self._half], _clean(bytes(self._tail))[-self._half :]
        shown = len(head.encode()) + len(tail.encode())
        return f"{head}\n[... about {max(0, self.size - shown)} bytes left out ...]\n{tail}", True


def _clean(data: bytes) -> str:
    """Text that a terminal and a prompt can show: no escape sequences, nothing that is no text."""
    return data.decode("utf-8", errors="replace").replace("\r\n", "\n").translate(_UNPRINTABLE)
