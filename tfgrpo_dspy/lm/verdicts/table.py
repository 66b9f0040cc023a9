"""Whose failure an error is: the one table by which rollouts, metrics, reflection, evaluation and judges sort.

A wrong sort is a wrong number: an outage that is scored makes a program look worse than it is, an answer of the model
that is left out makes it look better, and a request that can never succeed costs the whole run. Each rule names a fact,
what it is taken for, and, where that is in doubt, why. The first rule that holds decides; docs/verdicts.md is made from
this table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from tfgrpo_dspy.lm.verdicts import wordings as the
from tfgrpo_dspy.lm.verdicts.facts import causes, facts_of
from tfgrpo_dspy.text import one_line, shorten

Taken: TypeAlias = Literal["policy", "infrastructure", "request"]

CONSEQUENCES: dict[Taken, str] = {
    "policy": "It answered, and badly: the rollout is scored with `failure_score`, learned from, and asked for once.",
    "infrastructure": (
        "There was no answer: after the retries there is no rollout. It is lost, never scored, counted, shown, and "
        "asked for again when the run is taken up."
    ),
    "request": (
        "No rollout could succeed: the run stops at the first such answer, with one sentence that says what to change."
    ),
}
_SHOWN_TOKENS = 120
"""Of an error's own words, in ours."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table."""

    name: str
    fact: str
    """For people."""
    taken_for: Taken
    holds: the.Predicate
    remark: str = ""
    """What to do about a request that cannot succeed; of anything else, why it is sorted so where that is in doubt."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whose failure an error is."""

    rule: Rule
    error: BaseException
    """The one that decided: it, or one behind it."""

    @property
    def taken_for(self) -> Taken:
        """What it is taken for."""
        return self.rule.taken_for

    @property
    def sentence(self) -> str:
        """What was said, and what to do about it if anything can be done."""
        said = one_line(shorten(str(self.error).partition("\n\n")[0], _SHOWN_TOKENS)).rstrip(".")
        told = f"{type(self.error).__name__}: {said}" if said else type(self.error).__name__
        return f"{told}; {self.rule.remark}" if self.taken_for == "request" else told


def verdict_of(error: BaseException) -> Verdict:
    """Whose failure an error is, by it or else by what is behind it; that of a program is the policy's."""
    chain, vague = list(causes(error)), None
    for position, here in enumerate(chain):
        facts = facts_of(here)
        rule = next((rule for rule in RULES if rule.holds(facts)), None)
        if rule is None:
            continue
        if rule is UNCLEAR or facts.is_a(the.UNEXPECTED):
            vague = vague or Verdict(rule, here)
            continue
        if rule.taken_for == "request" and any(UNPARSEABLE.holds(facts_of(other)) for other in chain[position + 1 :]):
            return Verdict(SECOND_TRY, here)
        return Verdict(rule, here)
    return vague or Verdict(PROGRAM, error)


UNPARSEABLE = Rule(
    "unparseable",
    "the reply has not the form that the signature asks for (`AdapterParseError`, `LengthFinishReasonError`, ...)",
    "policy",
    the.among(
        *("dspy.AdapterParseError", "litellm.JSONSchemaValidationError"),
        *("openai.LengthFinishReasonError", "openai.ContentFilterFinishReasonError"),
    ),
)
TOO_LONG = Rule(
    "too long",
    "the prompt is longer than the context of the model: `context_length_exceeded`, 413, or the words of OpenAI, "
    "Azure, vLLM, SGLang, llama.cpp, Ollama, TGI, Anthropic, Gemini, Bedrock, Mistral, Grok, OpenRouter, LiteLLM",
    "policy",
    the.of_lm(the.is_too_long),
    "examples differ in length, and an agent's prompt grows with what it does; a library that fills the context fails "
    "in every rollout, which ends the run",
)
UNCLEAR = Rule(
    "unclear",
    "any other error of an LM's endpoint: a 400 or 422 whose words, and those of what is behind it, fit none of the "
    "above",
    "infrastructure",
    the.of_lm(lambda facts: True),
    "it may be about one example or about all; it is not scored, and one that comes in every rollout of a step ends "
    "the run",
)
SECOND_TRY = Rule(
    "second try",
    "DSPy's second try in JSON, after a reply that had not the form, was refused by the endpoint",
    "policy",
    lambda facts: False,
    "the first reply was the model's own, and the refusal is about how DSPy asked again",
)
PROGRAM = Rule(
    "program",
    "the program raised anything else: `KeyError`, `subprocess.TimeoutExpired`, a 404 of its own retriever, ...",
    "policy",
    lambda facts: False,
    "what a program raises depends on what the model answered; one that fails in every rollout of a step ends the run",
)

RULES: tuple[Rule, ...] = (
    UNPARSEABLE,
    Rule(
        "page",
        "an LM's endpoint answered with success, and with something that is neither a reply nor an error: a web page, "
        "nothing, JSON of another kind",
        "infrastructure",
        the.of_lm(lambda facts: the.NO_REPLY in facts.code),
        "gateways answer so for a moment; its words are nobody's about the request; where it is all that ever comes, "
        "the run ends, and the sentence asks for the address",
    ),
    Rule(
        "bad generation",
        "an LM's endpoint did not pass on what the model wrote, as it was no JSON or no call of a tool: "
        "`json_validate_failed`, `tool_use_failed` of Groq",
        "policy",
        the.of_lm(the.says(the.BAD_GENERATION)),
    ),
    Rule(
        "filtered",
        "an LM's endpoint refused what was asked, or answered, by its content filter, moderation or a guardrail: 400 "
        "of OpenAI, Azure and Bedrock, 403 of Grok and OpenRouter",
        "policy",
        the.of_lm(the.is_filtered),
        "it would be refused again; other questions may pass",
    ),
    Rule(
        "bound",
        "an LM's endpoint has no room for the output that is asked for, however short the prompt",
        "request",
        the.of_lm(the.bound_is_too_large),
        "give the LM a smaller max_tokens, or serve the model with a longer context",
    ),
    TOO_LONG,
    Rule(
        "no credit",
        "an LM's account has no credit: 402, `insufficient_quota` (also with 429), a proxy's budget",
        "request",
        the.of_lm(the.has_no_credit),
        "check the account's credit and quota",
    ),
    Rule(
        "temperature",
        "an LM's endpoint refuses the temperature",
        "request",
        the.of_lm(the.refuses_option("temperature")),
        "give temperature=None, with which each LM keeps its own, or the one that the model takes",
    ),
    Rule(
        "max_tokens",
        "an LM's endpoint refuses the bound on the output, by name or by size",
        "request",
        the.of_lm(the.refuses_option(the.LENGTH)),
        "give the LM another max_tokens, or None",
    ),
    Rule(
        "seed",
        "an LM's endpoint refuses the seed",
        "request",
        the.of_lm(the.refuses_option(r"\bseed\b")),
        "make the LM without `seed`; rollouts are drawn apart without one",
    ),
    Rule(
        "form",
        "an LM's endpoint refuses to answer in a given form (`response_format`, a JSON schema)",
        "request",
        the.of_lm(
            the.refuses_option(
                "response_format|response_schema|response mime|json_schema|json schema|structured output|guided"
            )
        ),
        "use dspy.ChatAdapter(), or an LM and server that take `response_format`",
    ),
    Rule(
        "template",
        "an LM's server has no chat template for the model, or one that takes no system message",
        "request",
        the.of_lm(lambda facts: the.is_refused(facts) and the.says(the.NO_TEMPLATE)(facts)),
        "serve the model with a chat template that takes system messages",
    ),
    Rule(
        "unknown model",
        "an LM's endpoint does not know the model: 404 or 400 that names it, `model_not_found`",
        "request",
        the.of_lm(the.has_no_model),
        "check the model's name against those that the endpoint lists (/v1/models)",
    ),
    Rule(
        "option",
        "an LM's endpoint refuses another option (`stop`, `n`, `logprobs`, `tools`, `reasoning_effort`, ...), or a "
        "kind of input that the model does not take",
        "request",
        the.of_lm(the.refuses_some_option),
        "take that option from the LM, or the input from the program",
    ),
    Rule(
        "address",
        "nothing answers for language models at that address: 404 that names no model, 405, a redirection, LM Studio's "
        "`unexpected endpoint`",
        "request",
        the.of_lm(the.is_no_address),
        "check api_base: OpenAI-compatible servers are asked at an address that ends in /v1, "
        "e.g. http://localhost:11434/v1 for Ollama",
    ),
    Rule(
        "wrong key",
        "an LM's endpoint refuses the key, or there is none: 401, 403, 407, no credentials",
        "request",
        the.of_lm(the.has_no_key),
        "check the key: api_key= of the LM, or the one in the environment, e.g. OPENAI_API_KEY",
    ),
    Rule(
        "not configured",
        "the LM cannot be asked as it was made (`LMConfigurationError`, `LMUnsupportedFeatureError`)",
        "request",
        the.among(
            *("dspy.LMConfigurationError", "dspy.ConfigurationError"),
            *("dspy.LMUnsupportedFeatureError", "dspy.CapabilityError"),
        ),
        "make the LM as the message says",
    ),
    Rule(
        "no room",
        "the server has not the memory to load the model (Ollama)",
        "request",
        the.of_lm(the.says(the.NO_ROOM)),
        "serve a smaller model, or on a larger machine",
    ),
    Rule(
        "malformed address",
        "the program asked for an address that is none (`UnsupportedProtocol`, `InvalidURL`)",
        "policy",
        the.among(
            *("httpx.UnsupportedProtocol", "httpx.InvalidURL", "httpx.LocalProtocolError", "aiohttp.InvalidURL"),
            *("requests.InvalidURL", "requests.MissingSchema", "requests.InvalidSchema", "urllib3.LocationValueError"),
            "http.InvalidURL",
        ),
        "such an address may be the model's; one that the program holds fails in every rollout, which ends the run",
    ),
    Rule(
        "overloaded",
        "408, 409, 423, 425, 429, 5xx, or a service's word for it (`ThrottlingException`, `UNAVAILABLE`), of an LM or "
        "of any service that the program or the metric asks",
        "infrastructure",
        the.is_overloaded,
    ),
    Rule(
        "no connection",
        "a connection failed or no answer came in time, in whatever client: builtin errors, sockets, ssl, http, "
        "urllib, urllib3, requests, httpx, aiohttp, openai, botocore, anyio, MCP, or a class named so; of databases "
        "also one that is locked, and not an SQL statement that is wrong",
        "infrastructure",
        the.is_down,
        "a `TimeoutError` of the program's own sandbox is taken for one too",
    ),
    Rule(
        "no reply",
        "an LM's endpoint answered 200 with an error that fits none of the above, or an engine of its own failed",
        "infrastructure",
        the.of_lm(the.is_no_reply),
        "what an engine raised of its own is looked for behind `LMUnexpectedError`, and decides if the table knows it",
    ),
    Rule(
        "service's key",
        "another service does not let the program in: 401, 407, no credentials, or some that ran out; not 403",
        "infrastructure",
        the.has_no_key_here,
        "no answer of the model's changes the program's key; where there is none, all is lost, which ends the run",
    ),
    Rule(
        "this machine",
        "this machine has no memory, disk, file handles or threads left",
        "infrastructure",
        the.is_of_this_machine,
    ),
    UNCLEAR,
    SECOND_TRY,
    PROGRAM,
)
"""Every verdict on an error, in the order in which they are tried."""
