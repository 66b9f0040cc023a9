"""Values whose large parts are in the store of a run."""

from __future__ import annotations

import threading

from tfgrpo_dspy.runtime.kept import adapter


class Noted:
    made_in: threading.Thread

    @classmethod
    def __get_pydantic_core_schema__(cls, source, handler):
        cls.made_in = threading.current_thread()
        return handler(int)


def test_what_pydantic_makes_of_a_type_is_made_where_no_interrupt_comes():
    assert adapter(Noted).validate_python("3") == 3
    assert Noted.made_in is not threading.main_thread()
    assert adapter(Noted) is adapter(Noted)
