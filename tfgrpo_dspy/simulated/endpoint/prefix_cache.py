"""A provider's prompt cache: how much of a prompt was read lately, told by its text alone."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict

BLOCK_TOKENS = 128
"""A prefix is kept in whole blocks of so many tokens, as providers do."""
_MOST_BLOCKS = 16_384
"""Blocks that are kept; those that were read longest ago are forgotten."""


class PrefixCache:
    """Remembers the beginnings of prompts, block by block. Thread-safe.

    Args:
        characters_per_token: For the length of a block.
    """

    def __init__(self, characters_per_token: int) -> None:
        self._block = BLOCK_TOKENS * characters_per_token
        self._seen: OrderedDict[bytes, None] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, prompt: str) -> int:
        """Tokens of the longest beginning that this prompt shares with an earlier one; from now on it is one."""
        whole = range(self._block, len(prompt) + 1, self._block)
        so_far, shared, is_shared = hashlib.blake2b(digest_size=16), 0, True
        with self._lock:
            for end in whole:
                so_far.update(prompt[end - self._block : end].encode("utf-8", "replace"))
                known = so_far.digest()
                is_shared = is_shared and known in self._seen
                shared += is_shared
                self._seen[known] = None
                self._seen.move_to_end(known)
            while len(self._seen) > _MOST_BLOCKS:
                self._seen.popitem(last=False)
        return shared * BLOCK_TOKENS
