"""Asking the reflection LM: what does not validate is asked again, what does not fit is shortened."""

from __future__ import annotations

import dspy
import pytest
from dspy import lm15

from tests.tfgrpo_dspy.scripted import Asked, Engine
from tfgrpo_dspy.errors import RequestError
from tfgrpo_dspy.lm.usage import Usage
from tfgrpo_dspy.steps.reflection import LEAST_TOKENS, Reflection, TooLong, Unusable


class Count(dspy.Signature):
    """Count the words."""

    text: str = dspy.InputField()
    number: int = dspy.OutputField()


def reflection(engine: Engine, retries: int = 2) -> Reflection:
    return Reflection(engine.lm(), retries)


def in_turn(*replies):
    turns = iter(replies)
    return Engine(lambda asked: next(turns))


def test_a_reply_that_parses_is_the_answer():
    engine = in_turn({"number": 3})
    answer = reflection(engine).ask(Count, {"text": "one two three"})
    assert (answer.fields, answer.problems, answer.usage) == ({"number": 3}, {}, Usage(1, 0, 10, 5, None))


def test_a_reply_that_does_not_parse_is_asked_again_with_the_error_shown():
    engine = in_turn({"number": "many"}, {"number": 3})
    answer = reflection(engine).ask(Count, {"text": "one two three"})
    assert answer.fields == {"number": 3}
    first, *_, last = engine.asked
    assert "correction" not in first.user
    assert "many" in last.field("correction")
    assert last.field("text") == "one two three"
    assert answer.usage.lm_calls == engine.calls == 2


def test_a_reply_with_problems_is_asked_again_with_the_problems_shown():
    engine = in_turn({"number": 7}, {"number": 3})
    answer = reflection(engine).ask(
        Count, {"text": "x"}, lambda reply: {"number": "too many"} if reply.number > 3 else {}
    )
    assert (answer.fields["number"], answer.problems) == (3, {})
    assert engine.asked[1].field("correction") == "too many"


def test_after_the_last_try_the_last_reply_that_parsed_is_returned_with_its_problems():
    engine = in_turn({"number": 7}, {"number": 8}, {"number": "many"})
    answer = reflection(engine).ask(Count, {"text": "x"}, lambda reply: {"number": f"{reply.number} is too many"})
    assert (answer.fields["number"], answer.problems) == (8, {"number": "8 is too many"})
    assert answer.usage.lm_calls == engine.calls


def test_when_no_reply_can_be_used_the_error_says_what_the_last_lacked_and_what_the_tries_took():
    engine = in_turn({"number": "a"}, {"number": "b"}, {"number": "cc"})
    with pytest.raises(Unusable, match=r"(?s)no reply in 3 tries could be used; the last: .*cc") as caught:
        reflection(engine).ask(Count, {"text": "x"})
    assert caught.value.usage.lm_calls == engine.calls == 3


def test_no_retries_means_one_try():
    engine = in_turn({"number": "a"})
    with pytest.raises(Unusable, match="no reply in 1 tries"):
        reflection(engine, retries=0).ask(Count, {"text": "x"})


def test_an_endpoint_that_fails_is_not_asked_again_by_us():
    engine = Engine(lambda asked: lm15.ServerError("bad gateway"))
    with pytest.raises(Unusable, match=r"LMServerError.*bad gateway") as caught:
        reflection(engine).ask(Count, {"text": "x"})
    assert caught.value.usage.lm_calls == engine.calls == 1


def test_a_usable_reply_is_kept_when_the_endpoint_fails_at_the_next_try():
    engine = in_turn({"number": 7}, lm15.ServerError("bad gateway"))
    answer = reflection(engine).ask(Count, {"text": "x"}, lambda reply: {"number": "too many"})
    assert (answer.fields["number"], answer.problems) == (7, {"number": "too many"})
    assert answer.usage.lm_calls == engine.calls == 2


def test_a_wrong_key_is_raised():
    with pytest.raises(RequestError, match="wrong key"):
        reflection(Engine(lambda asked: lm15.AuthError("wrong key"))).ask(Count, {"text": "x"})


def window(tokens: int):
    """An LM whose context window is so many estimated tokens of the `text` input."""

    def reply(asked: Asked):
        length = len(asked.field("text")) // 4
        return lm15.ContextLengthError("too long") if length > tokens else {"number": length}

    return Engine(reply)


def words(tokens: int) -> dict[str, str]:
    return {"text": "four" * tokens}


def test_what_exceeds_the_context_window_is_halved_until_it_fits():
    engine = window(700)
    answer = reflection(engine).ask_within(4000, Count, words)
    assert answer.fields["number"] == 500
    assert answer.usage.lm_calls == engine.calls == 4


def test_what_never_fits_is_given_up_at_the_least_budget_with_all_usage():
    engine = window(10)
    with pytest.raises(TooLong, match="too long") as caught:
        reflection(engine).ask_within(LEAST_TOKENS * 4, Count, words)
    assert caught.value.usage.lm_calls == engine.calls == 3


def test_the_usage_of_requests_that_were_too_long_is_not_forgotten_when_the_reply_is_unusable():
    def reply(asked: Asked):
        return lm15.ContextLengthError("too long") if len(asked.field("text")) > 2000 else {"number": "many"}

    engine = Engine(reply)
    with pytest.raises(Unusable) as caught:
        reflection(engine).ask_within(800, Count, words)
    assert caught.value.usage.lm_calls == engine.calls


def test_it_asks_the_reflection_lm_through_the_callers_adapter():
    engine, other = Engine(lambda asked: {"number": 1}), Engine(lambda asked: {"number": 2})
    with dspy.context(lm=other.lm(), adapter=dspy.JSONAdapter()):
        assert reflection(engine).ask(Count, {"text": "x"}).fields == {"number": 1}
    assert "JSON object" in engine.asked[0].system
    assert other.calls == 0


def test_asked_again_in_a_later_step_the_cache_does_not_repeat_the_reply_that_could_not_be_used():
    engine = Engine(lambda asked: {"number": "many"} if engine.calls <= 1 else {"number": 3})
    first = Reflection(engine.lm(cache=True, seed=None), 0)
    with pytest.raises(Unusable):
        first.ask(Count, {"text": "x"})
    with pytest.raises(Unusable):
        first.ask(Count, {"text": "x"})
    assert engine.calls == 1
    assert first.again(2).ask(Count, {"text": "x"}).fields == {"number": 3}
