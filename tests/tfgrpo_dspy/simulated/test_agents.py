"""The embedded LM as an agent: every turn is made from what the prompt shows."""

from __future__ import annotations

import dspy
import pytest

from tfgrpo_dspy.simulated import simulated_lm
from tfgrpo_dspy.simulated.attempts import Shown

POWER = "Compute 12^132 modulo 197."
PLAIN = "What is 43 times 63, less 59?"
ROOT = "Compute the integer part of the square root of 18102172765570220420433717104483."
HEAD = "Name the current head of the Map Archive."
BAR = "Untrusted text."
HITS = f"""Results for 'x'. {BAR}
| [1] Map Archive: head
| http://a.example/old
| The head of the Map Archive is Ada Holm. Last changed in May 2023.
| [2] Map Archive: staff
| http://a.example/new
| More about it."""
OLD = f"""Opened http://a.example/old, part 1 of 1. {BAR}
| The head of the Map Archive is Ada Holm.
Links 1 to 1 of 1; open one by its number.
| [1] Newer version of this page -> http://a.example/new"""
NEW = f"Opened http://a.example/new, part 1 of 1. {BAR}\n| The head of the Map Archive is Ben Lund."


@pytest.fixture(params=[dspy.ChatAdapter, dspy.JSONAdapter])
def drawn(request):
    """Every request gets another reply, in a sequence that the seed decides."""
    with dspy.context(lm=simulated_lm(seed=0, fixed_seed=False, cache=False), adapter=request.param()):
        yield


def coder(observe, advice=""):
    """An agent whose tool observes what the function says of the code."""

    def run_python(code: str) -> str:
        """Run Python code. Print the values that you want to see."""
        return observe(code)

    return told(dspy.ReAct(dspy.Signature("problem -> answer", "Solve it."), tools=[run_python], max_iters=5), advice)


def surfer(observe, advice=""):
    def web_search(query: str) -> str:
        """Search."""
        return observe(query)

    def open_page(url: str) -> str:
        """Open a page. Open the page before you rely on a snippet."""
        return observe(url)

    return told(dspy.ReAct("question -> answer", tools=[web_search, open_page], max_iters=7), advice)


def told(agent, advice):
    signature = agent.react.signature
    agent.react.signature = signature.with_instructions(f"{signature.instructions}\n{advice}")
    return agent


def site(asked):
    return {"http://a.example/old": OLD, "http://a.example/new": NEW}.get(asked, HITS)


def runs(agent, n=40, **inputs):
    return [agent(**inputs) for _ in range(n)]


def calls(reply):
    return sum(k.startswith("tool_name") and name != "finish" for k, name in reply.trajectory.items())


def test_the_answer_is_what_the_tool_says_even_when_the_tool_is_wrong(drawn):
    replies = runs(coder(lambda code: "4711"), 10, problem=POWER)
    assert {reply.answer for reply in replies} == {"4711"}
    assert {calls(reply) for reply in replies} == {1}
    assert all("132" in reply.trajectory["tool_args_0"]["code"] for reply in replies)


def test_a_missing_import_is_mended_at_the_cost_of_a_call_or_given_up(drawn):
    def observe(code):
        return "5" if "import" in code else "Error: NameError: name 'math' is not defined\n  line 1"

    replies = [r for r in runs(coder(observe), problem=ROOT) if "import" not in r.trajectory["tool_args_0"]["code"]]
    assert {calls(reply) for reply in replies if reply.answer == "5"} == {2}
    assert [reply for reply in replies if reply.answer != "5" and calls(reply) == 1]


def test_advice_that_addresses_a_wasteful_call_lowers_the_calls(drawn):
    advice = "- When plain arithmetic is all that is asked, work this out by hand; do not call the tool."
    bare = sum(map(calls, runs(coder(lambda code: "2650"), problem=PLAIN)))
    assert sum(map(calls, runs(coder(lambda code: "2650", advice), problem=PLAIN))) < bare / 2


def test_the_manual_of_the_tools_is_no_advice(drawn):
    silent = [
        r for r in runs(coder(lambda code: "3"), problem=POWER) if "print" not in r.trajectory["tool_args_0"]["code"]
    ]
    assert silent, "the tool's description says to print, and every agent has read it"


def test_an_unknown_problem_gets_one_small_calculation_and_an_honest_guess(drawn):
    (reply,) = runs(
        coder(lambda code: str(eval(code[6:-1]))), 1, problem="Let ABC be a triangle with sides 7, 8 and 9."
    )
    assert calls(reply) == 1
    assert "I am not sure" in reply.trajectory["thought_1"]
    assert reply.answer == reply.trajectory["observation_0"]


@pytest.mark.parametrize("seen", ["Error: SyntaxError: bad", "(nothing was printed: print it)", "no number", ""])
def test_whatever_the_tool_says_the_agent_ends(drawn, seen):
    for problem in (POWER, ROOT, "A problem about 12 cats and 3 dogs.", "A problem without a number."):
        for reply in runs(coder(lambda code: seen), 3, problem=problem):
            assert reply.trajectory[f"tool_name_{calls(reply)}"] == "finish"
            assert reply.answer


def test_the_web_agent_finds_the_newer_page_by_its_link_or_stops_early(drawn):
    answers = [(reply.answer, calls(reply)) for reply in runs(surfer(site), question=HEAD)]
    assert ("Ben Lund", 3) in answers
    assert ("Ada Holm", 1) in answers, "from the snippet"
    assert ("Ada Holm", 2) in answers, "from the outdated page"


def test_advice_leads_the_web_agent_on(drawn):
    advice = (
        "[G0] When a site is searched for the holder of a post, read the whole page; do not trust a snippet.\n"
        "[G1] When looking up the head of something on a web site, follow links to the latest version."
    )
    answers = [reply.answer for reply in runs(surfer(site, advice), question=HEAD)]
    assert answers.count("Ben Lund") > 25


def test_an_unknown_question_is_searched_for_and_one_page_is_read(drawn):
    (reply,) = runs(surfer(site), 1, question="Which ship sank near the archive of maps?")
    assert calls(reply) == 2
    assert reply.answer


@pytest.mark.parametrize("seen", ["Error: no network", "Nothing was found for 'x'; use fewer or other words.", ""])
def test_where_nothing_is_found_the_web_agent_says_so(drawn, seen):
    for question in (HEAD, "Which ship sank?"):
        (reply,) = runs(surfer(lambda asked: seen), 1, question=question)
        assert (reply.answer, calls(reply)) == ("unknown", 1)


def test_thoughts_carry_their_steps_for_reflection(drawn):
    reply = runs(surfer(site), 1, question=HEAD)[0]
    shown = Shown.of("\n".join(v for k, v in reply.trajectory.items() if k.startswith("thought")))
    assert "post" in shown.kind
    assert shown.steps
    assert all(step.calculation for step in shown.steps)
