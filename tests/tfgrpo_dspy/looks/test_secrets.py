"""What an endpoint echoes of a credential is found in nothing that a run writes, says or returns."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, quote_plus

import dspy
import pytest

from tests.tfgrpo_dspy.lm.raw import watchdog
from tests.tfgrpo_dspy.lm.test_over_http import failing, stub
from tests.tfgrpo_dspy.scripted import examples
from tfgrpo_dspy import RunStopped, TrainingFreeGRPO
from tfgrpo_dspy.library.operations import Add
from tfgrpo_dspy.looks.secrets import REDACTED, Secrets, in_options

KEY, HEADER, QUERY, ENVIRONMENT = (
    "kk-of-the-lm-0001",
    "hh-of-a-header-0002",
    "qq of a query/0003",
    "ee-of-the-shell-0004",
)
ALL = (KEY, HEADER, QUERY, ENVIRONMENT)


def echoing(status: int):
    """Says all it was given, in an error or a reply."""
    said = f"refused {KEY} with {HEADER} at http://host/v1?key={QUERY} for {ENVIRONMENT}"
    if status != 200:
        return lambda n: failing(status, said, **{"Retry-After": "0"})

    def answer(n: int):
        fields = {"reasoning": said, "answer": str(n % 2), "summary": said, "comparison": said}
        fields["new_experiences"] = json.dumps([f"When asked, say {KEY}."])
        fields["operations"] = json.dumps([{"op": "add", "text": f"Say {KEY}.", "sources": ["A0"], "reason": said}])
        text = "\n\n".join(f"[[ ## {name} ## ]]\n{value}" for name, value in fields.items())
        message = {"role": "assistant", "content": f"{text}\n\n[[ ## completed ## ]]"}
        reply = {"id": "c", "object": "chat.completion", "model": "x", "choices": [{"index": 0, "message": message}]}
        reply["choices"][0]["finish_reason"] = "stop"
        return 200, {**reply, "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}}, {}

    return answer


@pytest.mark.parametrize("engine", ["auto", "litellm"])
@pytest.mark.parametrize("status", [200, 500, 401])
def test_a_key_that_is_echoed_is_found_nowhere(status, engine, monkeypatch, caplog, capsys):
    monkeypatch.setenv("SOME_API_KEY", ENVIRONMENT)

    def metric(example, prediction, trace=None):
        return dspy.Prediction(score=float(prediction.answer), feedback=f"it had {prediction.reasoning}")

    with watchdog(), stub(echoing(status)) as server:
        address = f"{server.api_base}?key={QUERY.replace(' ', '%20').replace('/', '%2F')}"
        lm = dspy.LM(
            "openai/m", api_base=server.api_base, api_key=KEY, headers={"X-Auth": HEADER}, cache=False, num_retries=0,
            engine=engine,
        )  # fmt: skip
        lm.kwargs["base_url"] = address
        with dspy.context(lm=lm):
            optimizer = TrainingFreeGRPO(metric, epochs=1, group_size=4, num_threads=1, log_dir="log", max_errors=2)
            try:
                program = optimizer.compile(dspy.ChainOfThought("question -> answer"), examples(4))
            except RunStopped as error:
                result, message = error.result, f"{error} {error.__cause__!r}" if status == 500 else str(error)
            else:
                result, message = program.detailed_results, ""
                program.save("program.json")
        assert server.requests
    files = [path for path in Path().rglob("*") if path.is_file()]
    written = b"".join(path.read_bytes() for path in files).decode("utf-8", "replace")
    said = "\n".join((written, message, json.dumps(result.to_dict()), caplog.text, *capsys.readouterr()))
    assert [secret for secret in ALL if secret in said] == []
    assert "[redacted]" in said


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"api_key": "abcdef"}, {"abcdef"}),
        ({"headers": {"Authorization": "Bearer abcdefgh"}}, {"Bearer abcdefgh", "abcdefgh"}),
        ({"extra_headers": [("x", "abcdef")]}, {"x", "abcdef"}),
        ({"api_base": "http://anna:s%20same@host/v1?key=a%2Fbc&plain"}, {"s same", "s%20same", "a/bc", "a%2Fbc"}),
        ({"azure_ad_token": "abcdef", "max_tokens": 100, "temperature": 1.0}, {"abcdef"}),
        ({"model": "m", "stop": ["x"]}, set()),
    ],
)
def test_what_of_the_options_of_an_lm_is_a_credential(options, found):
    assert set(in_options(options)) == found


@dataclass(frozen=True)
class Held:
    text: str
    parts: tuple[object, ...] = ()


SECRET = 'p@ss/"wörd+key==x1'


@pytest.mark.parametrize(
    "written",
    [
        *(SECRET, quote(SECRET), quote(SECRET, safe=""), quote_plus(SECRET), json.dumps({"said": [SECRET]})),
        *(base64.b64encode(f"{'user:'[:before]}{SECRET}".encode()).decode() for before in range(4)),
        base64.urlsafe_b64encode(f"user:{SECRET}, and more".encode()).decode(),
    ],
)
def test_a_credential_is_found_however_it_is_written(written):
    secrets = Secrets()
    secrets.learn([SECRET])
    assert REDACTED in secrets.hide(f"refused: {written}")
    assert secrets.hide("an ordinary text, cGFzc3dvcmQ=") == "an ordinary text, cGFzc3dvcmQ="


def test_values_lose_credentials_in_all_their_texts_and_stay_the_same_otherwise():
    secrets = Secrets()
    clean, held = (
        Held("nothing"),
        Held("say abcdef", ({"a": ["abcdefgh"]}, Held("abcdef"), Add(text="abcdef!", sources=[]))),
    )
    assert secrets.hide_in(held) is held
    secrets.learn(["abcdef", "abcdefgh", "short"])
    assert secrets.hide_in(clean) is clean
    hidden = secrets.hide_in(held)
    assert "abcdef" not in repr(hidden)
    assert hidden.parts[0] == {"a": ["[redacted]"]}
    assert secrets.hide("short") == "short"
