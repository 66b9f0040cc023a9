"""Images, files, odd characters: what no prompt of reflection may be broken by, in whole runs."""

from __future__ import annotations

import base64
import os

import dspy
import pytest

from tests.tfgrpo_dspy.lm.test_over_http import OK, lm, stub
from tests.tfgrpo_dspy.scripted import Asked, Engine, exact, script
from tfgrpo_dspy import SettingsError, TrainingFreeGRPO, evaluate
from tfgrpo_dspy.text import whole

NOISE = base64.b64encode(os.urandom(30_000)).decode()


class Asks(dspy.Module):
    """With a tool that returns an image."""

    def __init__(self) -> None:
        super().__init__()
        self.ask = dspy.Predict("thing, question -> answer")

    def forward(self, thing, question):
        shot = dspy.Tool(lambda: dspy.Image(url=f"data:image/png;base64,{NOISE}"), name="shoot")()
        return dspy.Prediction(answer=self.ask(thing=thing, question=question).answer, shot=shot)


THINGS = {
    "image": (dspy.Image(url=f"data:image/png;base64,{NOISE}"), "<image 1: 29 kB png>"),
    "images": ([dspy.Image(url=f"data:image/png;base64,{NOISE}")], "[<image 1: 29 kB png>]"),
    "audio": (dspy.Audio(data=NOISE, audio_format="wav"), "<audio 1: 29 kB wav>"),
    "file": (dspy.File(file_data=f"data:application/pdf;base64,{NOISE}"), "<file 1: 29 kB pdf>"),
    "history": (dspy.History(messages=[{"question": "q", "answer": "a"}]), "question: q, answer: a"),
    "address": (f"look at data:image/png;base64,{NOISE}", "look at <image 1: 29 kB png>"),
}  # fmt: skip


@pytest.mark.parametrize("kind", THINGS)
def test_reflection_reads_the_names_of_what_is_no_text(kind):
    thing, name = THINGS[kind]
    data = [dspy.Example(thing=thing, question=f"q{i}?", answer="1").with_inputs("thing", "question") for i in range(3)]
    reflection = Engine(script())
    with dspy.context(lm=Engine(script()).lm()):
        optimizer = TrainingFreeGRPO(exact, epochs=1, group_size=3, num_threads=1, reflection_lm=reflection.lm())
        program = optimizer.compile(Asks(), data)
    assert len(program.experience_library)
    asked = [each.system + each.user for each in reflection.asked]
    assert {each.role for each in reflection.asked} == {"summary", "extraction", "update"}
    assert not any("base64" in text or NOISE[:40] in text or "CUSTOM-TYPE" in text for text in asked)
    assert all(name in each.user for each in reflection.of("summary"))
    assert all("shot: <image 1: 29 kB png>" in each.user or "<image" in each.user for each in reflection.of("summary"))
    assert all(len(text) < 10_000 for text in asked)


HALF = "\ud83d"
ODD = {
    **OK,
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": f"[[ ## answer ## ]]\n1{HALF}\n\n[[ ## completed ## ]]"},
        }
    ],
}


class Twice(dspy.Module):
    """Hands a reply on."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = dspy.Predict("question -> answer"), dspy.Predict("question, draft -> answer")

    def forward(self, question):
        return self.second(question=question, draft=self.first(question=question).answer)


def given(example, prediction, trace=None):
    return dspy.Prediction(score=prediction.answer == example.answer, feedback=f"so {HALF}")


@pytest.mark.parametrize("cache", [False, True])
@pytest.mark.parametrize("engine", ["lm15", "litellm"])
def test_half_a_character_in_replies_data_and_feedback_costs_no_rollout(engine, cache):
    data = [dspy.Example(question=f"q{i}{HALF}?", answer=whole(f"1{HALF}")).with_inputs("question") for i in range(2)]
    with stub(lambda n: (200, ODD, {})) as server, dspy.context(lm=lm(server.api_base, engine=engine, cache=cache)):
        for _ in range(2):
            made = evaluate(Twice(), data, given, k=2, seed=0, num_threads=1, display_progress=False)
            assert made.rewards == ((1.0, 1.0), (1.0, 1.0))
    for rollout in made.groups[0].scored:
        (rollout.trajectory + rollout.answer + rollout.feedback).encode()


def test_half_a_character_in_what_reflection_is_told_reaches_no_library():
    def policy(asked: Asked):
        return {"answer": asked.draw().choice([f"1{HALF}", "7"])}

    data = [dspy.Example(question=f"q{i}{HALF}?", answer=f"1{HALF}").with_inputs("question") for i in range(3)]
    with dspy.context(lm=Engine(script(policy=policy)).lm()):
        program = TrainingFreeGRPO(exact, epochs=1, group_size=4, num_threads=1).compile(
            dspy.Predict("question -> answer"), data
        )
    assert not any(step.failures for step in program.detailed_results.steps)
    str(program.experience_library).encode()


class Seeing(Engine):
    """Notes what is no text in what it is asked."""

    def __init__(self) -> None:
        super().__init__(script())
        self.seen: list[list[tuple[str, str]]] = []

    def complete(self, request):
        parts = [part for message in request.messages for part in message.parts]
        self.seen.append([(part.type, part.data) for part in parts if part.type != "text"])
        return super().complete(request)


class Sees(dspy.Module):
    def __init__(self) -> None:
        super().__init__()
        self.ask = dspy.Predict("images, sound, question -> answer")

    def forward(self, images, sound, question):
        return self.ask(images=images, sound=sound, question=question)


def test_a_reflection_lm_that_sees_is_shown_each_image_itself_whole_and_once():
    other = NOISE[::-1].strip("=")
    images = [dspy.Image(url=f"data:image/png;base64,{data}") for data in (NOISE, other, NOISE)]
    fields = {"images": images, "sound": dspy.Audio(data=NOISE, audio_format="wav"), "answer": "1"}
    data = [dspy.Example(question=f"q{i}?", **fields).with_inputs("images", "sound", "question") for i in range(3)]
    reflection = Seeing()
    given = {"reflection_lm": reflection.lm(), "reflection_sees": ["image"], "num_threads": 1}
    with dspy.context(lm=Engine(script()).lm()):
        TrainingFreeGRPO(exact, epochs=1, group_size=3, **given).compile(Sees(), data)
    for asked, seen in zip(reflection.asked, reflection.seen, strict=True):
        if asked.role == "update":
            assert seen == []
            continue
        assert seen == [("image", NOISE), ("image", other)]
        assert all(f"`image_{i}`" in asked.system for i in (1, 2))
        assert "`image_3`" not in asked.system
        assert "<image 1: 29 kB png>" in asked.user
        assert "<audio 1: 29 kB wav>" in asked.user


@pytest.mark.parametrize("kinds", [["video"], "image", None, ["image", "smell"]])
def test_what_no_lm_is_said_to_see_is_refused(kinds):
    with pytest.raises(SettingsError, match="`reflection_sees` must be a list of texts of `image`, `audio` and `file`"):
        TrainingFreeGRPO(exact, reflection_sees=kinds)
