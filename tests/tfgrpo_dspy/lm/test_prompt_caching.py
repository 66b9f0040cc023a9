"""The provider's prompt cache: its share is shown where it is known, and its price is used where there is one."""

from __future__ import annotations

import dspy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tfgrpo_dspy.lm.test_over_http import OK, lm, stub
from tfgrpo_dspy import TrainingFreeGRPO, evaluate
from tfgrpo_dspy.errors import SettingsError
from tfgrpo_dspy.lm.budget import Budget, cost_at, price_of
from tfgrpo_dspy.lm.usage import Usage
from tfgrpo_dspy.observers.metrics import usage_numbers
from tfgrpo_dspy.reports.markdown import render_report
from tfgrpo_dspy.reports.story import story_of
from tfgrpo_dspy.reports.tables import cost_table
from tfgrpo_dspy.rewards.metrics import number
from tfgrpo_dspy.runtime.stored import spent_in
from tfgrpo_dspy.simulated import demo_examples, running_server
from tfgrpo_dspy.simulated.endpoint.prefix_cache import BLOCK_TOKENS, PrefixCache

QA = "question -> answer"

# The value.


def test_what_no_reply_said_is_unknown_and_what_one_said_counts():
    silent, said = Usage(1, 0, 100, 10), Usage(1, 0, 300, 10, 0.0, 128)
    assert (silent + silent).cached_share is None
    assert (silent + said).cached_tokens == (said + silent).cached_tokens == 128
    assert (silent + said).cached_share == 128 / 400
    assert (said + said).cached_tokens == 256
    assert Usage(1, 0, 100, 10, 0.0, 0).cached_share == 0


def test_the_share_is_shown_where_it_is_known():
    silent, said = Usage(1, 0, 400, 10), Usage(1, 0, 400, 10, 0.0, 128)
    assert usage_numbers(said)["cached_token_share"] == 0.32
    assert usage_numbers(said)["cached_tokens"] == 128
    assert not {"cached_tokens", "cached_token_share"} & set(usage_numbers(silent))
    assert cost_table({"all": said}).rows[0][4] == "32%"
    assert not cost_table({"all": silent}).rows[0][4]


def test_cached_input_costs_its_own_price_or_else_the_full_one():
    assert cost_at((1.0, 4.0, 0.1), 1_000_000, 500_000, 600_000) == pytest.approx(0.4 + 0.06 + 2.0)
    assert cost_at((1.0, 4.0), 1_000_000, 500_000, 600_000) == pytest.approx(3.0)


def test_a_price_may_name_that_of_cached_input():
    assert price_of("0.4,1.6,0.1") == (0.4, 1.6, 0.1)
    assert Budget(max_cost_usd=1, price_per_million=(1, 2, 0.5)).price_of("any") == (1, 2, 0.5)
    for text in ("1", "1,2,3,4", "1,x"):
        with pytest.raises(SettingsError, match="`price_per_million` must be two numbers"):
            price_of(text)


# The simulated provider.


@given(st.text("ab", max_size=40), st.text("ab", max_size=40))
def test_what_counts_is_the_common_beginning_in_whole_blocks(first, second):
    cache = PrefixCache(characters_per_token=1)
    first, second = (("x" * 100).join(text) for text in (first, second))
    assert cache.read(first) == 0
    common = next(
        (i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(map(len, (first, second)))
    )
    assert cache.read(second) == common // BLOCK_TOKENS * BLOCK_TOKENS


def test_a_prompt_read_again_is_cached_but_for_its_last_part_of_a_block():
    cache, prompt = PrefixCache(characters_per_token=4), "".join(map(str, range(1000)))
    assert cache.read(prompt) == 0
    assert cache.read(prompt) == len(prompt) // (4 * BLOCK_TOKENS) * BLOCK_TOKENS
    assert cache.read("new" + prompt) == 0
    assert cache.read(prompt[:600] + "other") == BLOCK_TOKENS


# Whole runs.


def test_a_run_shows_the_share_that_the_endpoint_reports_and_pays_for_it_at_its_price(tmp_path):
    ended: list = []
    with (
        running_server() as base,
        dspy.context(lm=dspy.LM("openai/simulated", api_base=base, api_key="x", cache=False)),
    ):
        budget = Budget(max_cost_usd=100.0, price_per_million=(1.0, 4.0, 0.1))
        settings = {"epochs": 2, "group_size": 3, "num_threads": 4, "budget": budget, "log_dir": tmp_path}
        optimizer = TrainingFreeGRPO(number, observers=[ended.append], display_progress=False, **settings)
        usage = optimizer.compile(dspy.ChainOfThought(QA), demo_examples(6, 0, "train")).detailed_results.usage
    assert 0.1 < usage.cached_share < 1
    expected = cost_at((1.0, 4.0, 0.1), usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens)
    assert usage.cost_usd == pytest.approx(expected)
    assert spent_in(tmp_path).cost_usd == pytest.approx(expected)
    page = render_report(story_of(ended[-1].result, ended[0]))
    assert f"| {usage.cached_share:.0%} |" in page


def test_dspys_own_price_of_cached_input_is_used():
    body = {**OK, "model": "gpt-4o-mini"}
    reported = {"prompt_tokens": 2000, "completion_tokens": 100, "total_tokens": 2100}
    costs = []
    for cached in (0, 1920):
        usage = {**reported, "prompt_tokens_details": {"cached_tokens": cached}}
        with (
            stub(lambda n, usage=usage: (200, {**body, "usage": usage}, {})) as server,
            dspy.context(lm=dspy.LM("openai/gpt-4o-mini", api_base=server.api_base, api_key="x", cache=False)),
        ):
            made = evaluate(dspy.Predict(QA), demo_examples(1, 0, "train"), number, k=1, display_progress=False)
        assert made.usage.cached_tokens == cached
        costs.append(made.usage.cost_usd)
    assert costs[1] < costs[0]


def test_an_endpoint_that_says_nothing_of_its_cache_leaves_the_share_unknown():
    with stub(lambda n: (200, OK, {})) as server, dspy.context(lm=lm(server.api_base)):
        made = evaluate(dspy.Predict(QA), demo_examples(1, 0, "train"), number, k=1, display_progress=False)
    assert made.usage.cached_share is None
