"""The mathematics agent of the paper's tables runs code."""

from __future__ import annotations

import pytest

from programs.sandbox import bubblewrap


@pytest.fixture(autouse=True, scope="session")
def sandbox() -> None:
    """Skip where there is none."""
    if reason := bubblewrap.why_not():
        pytest.skip(f"bubblewrap cannot be used here: {reason}")
