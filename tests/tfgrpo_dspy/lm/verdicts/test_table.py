"""Whose failure an error is, row by row: exceptions of common clients, and errors in the words of common servers."""

from __future__ import annotations

import errno
import http.client
import json
import socket
import sqlite3
import ssl
import subprocess
import urllib.error

import aiohttp
import anyio
import botocore.exceptions
import dspy
import httpx
import openai
import pytest
import requests
import sqlalchemy.exc
import urllib3
from dspy import lm15
from dspy.utils.exceptions import (
    AdapterParseError,
    LMAuthError,
    LMInvalidRequestError,
    LMServerError,
    LMUnexpectedError,
)

from tests import verdicts_page
from tests.tfgrpo_dspy.lm.test_engine import metered
from tests.tfgrpo_dspy.lm.test_over_http import lm, stub
from tfgrpo_dspy.lm.verdicts.replies import may_pass
from tfgrpo_dspy.lm.verdicts.table import RULES, verdict_of

QA = "question -> answer"


def raised_from(cause: BaseException) -> BaseException:
    try:
        raise ValueError("my retriever failed") from cause
    except ValueError as error:
        return error


def raised_while_handling(cause: BaseException) -> BaseException:
    try:
        try:
            raise cause
        except type(cause):
            raise KeyError("passages")  # noqa: B904 - as users write it
    except KeyError as error:
        return error


def raised_hiding(cause: BaseException) -> BaseException:
    try:
        try:
            raise cause
        except type(cause):
            raise RuntimeError("no passages") from None
    except RuntimeError as error:
        return error


def unparseable() -> AdapterParseError:
    return AdapterParseError("ChatAdapter", dspy.Signature(QA), "babble")


def second_try() -> BaseException:
    try:
        try:
            raise unparseable()
        except AdapterParseError:
            raise LMInvalidRequestError("response_format is not supported", status=400)  # noqa: B904 - as DSPy does
    except LMInvalidRequestError as error:
        return error


def unclear_second_try() -> BaseException:
    try:
        try:
            raise unparseable()
        except AdapterParseError:
            raise LMInvalidRequestError("something about this one", status=400)  # noqa: B904 - as DSPy does
    except LMInvalidRequestError as error:
        return error


REQUEST = httpx.Request("POST", "http://127.0.0.1")


def of_openai(path: str, status: int, message: str) -> openai.APIStatusError:
    request = httpx.Request("POST", f"http://127.0.0.1/v1/{path}")
    return openai.APIStatusError(message, response=httpx.Response(status, request=request), body=None)


def of_an_engine(cause: BaseException) -> BaseException:
    try:
        raise LMUnexpectedError("an engine failed", model="m") from cause
    except LMUnexpectedError as error:
        return error


def of_sqlalchemy(cause: Exception) -> sqlalchemy.exc.OperationalError:
    return sqlalchemy.exc.OperationalError("select 1", {}, cause)


def saying(**facts: object) -> Exception:
    """Of a client that nobody knows."""
    return type("ApiError", (Exception,), facts)("no")


class Unseemly(Exception):
    """One that cannot be looked at."""

    @property
    def response(self) -> object:
        raise RuntimeError("there is none")

    status = reason = errno = body = response


def openai_error(status: int, message: str, code: str | None = None) -> openai.APIStatusError:
    body = {"message": message, "code": code}
    kinds = {401: openai.AuthenticationError, 429: openai.RateLimitError, 400: openai.BadRequestError}
    kind = kinds.get(status, openai.APIStatusError)
    return kind(message, response=httpx.Response(status, request=REQUEST), body=body)


def of_litellm(name: str, status: int, message: str = "no") -> Exception:
    return type(name, (Exception,), {"__module__": "litellm.exceptions", "status_code": status})(message)


def of_httpx(status: int) -> httpx.HTTPStatusError:
    return httpx.HTTPStatusError(str(status), request=REQUEST, response=httpx.Response(status))


def of_requests(status: int) -> requests.HTTPError:
    response = requests.Response()
    response.status_code = status
    return requests.HTTPError(str(status), response=response)


def of_urllib(status: int) -> urllib.error.HTTPError:
    return urllib.error.HTTPError("http://127.0.0.1", status, "no", {}, None)


def of_aiohttp(status: int) -> aiohttp.ClientResponseError:
    return aiohttp.ClientResponseError(None, (), status=status)


def of_botocore(code: str, status: int, operation: str = "Retrieve", message: str = "no") -> Exception:
    said = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return botocore.exceptions.ClientError(said, operation)


class ServiceUnavailable(Exception):
    """Named so by a client that nobody knows."""


ERRORS = [
    # The network, by whatever client.
    *[(error, "no connection") for error in (ConnectionError("down"), ConnectionResetError(), BrokenPipeError())],
    *[(error, "no connection") for error in (TimeoutError("late"), OSError(errno.EHOSTUNREACH, "no route"))],
    *[(error, "no connection") for error in (socket.gaierror("dns"), socket.herror("dns"), ssl.SSLError("bad"))],
    *[(error, "no connection") for error in (http.client.RemoteDisconnected(), http.client.IncompleteRead(b""))],
    *[
        (error, "no connection")
        for error in (urllib.error.URLError("down"), urllib.error.ContentTooShortError("", b""))
    ],
    *[(error, "no connection") for error in (requests.ConnectionError("down"), requests.ReadTimeout("late"))],
    *[
        (error, "no connection")
        for error in (requests.exceptions.SSLError("x"), requests.exceptions.ChunkedEncodingError())
    ],
    *[(error, "no connection") for error in (httpx.ConnectError("down"), httpx.ReadTimeout("late"))],
    *[(error, "no connection") for error in (httpx.RemoteProtocolError("cut"), httpx.ProxyError("x"))],
    *[
        (error, "no connection")
        for error in (urllib3.exceptions.MaxRetryError(None, "/"), urllib3.exceptions.ProtocolError())
    ],
    *[(error, "no connection") for error in (urllib3.exceptions.ReadTimeoutError(None, "/", "late"),)],
    *[(error, "no connection") for error in (aiohttp.ServerDisconnectedError(), aiohttp.ClientPayloadError())],
    *[(error, "no connection") for error in (aiohttp.ServerTimeoutError(), aiohttp.ClientOSError(errno.EPIPE, "x"))],
    *[
        (error, "no connection")
        for error in (openai.APIConnectionError(request=REQUEST), openai.APITimeoutError(REQUEST))
    ],
    (botocore.exceptions.EndpointConnectionError(endpoint_url="x"), "no connection"),
    (botocore.exceptions.ReadTimeoutError(endpoint_url="x"), "no connection"),
    (lm15.TransportError("reset"), "no connection"),
    # A service that could not answer now.
    *[
        (of(status), "overloaded")
        for of in (of_httpx, of_requests, of_urllib, of_aiohttp)
        for status in (408, 429, 503)
    ],
    (openai_error(429, "slow down"), "overloaded"),
    (openai_error(529, "overloaded"), "overloaded"),
    (of_botocore("ThrottlingException", 400), "overloaded"),
    (LMServerError("bad gateway", status=502), "overloaded"),
    (ServiceUnavailable(), "no connection"),
    # Behind errors of the program's own.
    (raised_from(requests.ConnectionError("down")), "no connection"),
    (raised_while_handling(httpx.ReadTimeout("late")), "no connection"),
    (ExceptionGroup("tools", [KeyError("a"), httpx.ConnectError("down")]), "no connection"),
    (raised_from(openai_error(401, "bad key")), "wrong key"),
    (raised_hiding(httpx.ConnectTimeout("late")), "no connection"),
    (raised_hiding(KeyError("passages")), "program"),
    (Unseemly("no"), "program"),
    # Behind what an engine of the user's own raised, whose words are only "unexpected".
    (of_an_engine(openai_error(401, "bad key")), "wrong key"),
    (of_an_engine(openai_error(400, "too long", code="context_length_exceeded")), "too long"),
    (of_an_engine(requests.ConnectionError("down")), "no connection"),
    (of_an_engine(KeyError("choices")), "no reply"),
    # What a client of unknown make says in text, and an error in a 200.
    *[(saying(**{name: "503"}), "overloaded") for name in ("code", "status", "status_code")],
    (LMServerError("Invalid token", status=200, provider_code="401"), "wrong key"),
    (LMServerError("busy", status=200, provider_code="502"), "overloaded"),
    # Databases: away or locked, and not the model's SQL.
    *[
        (of(sqlite3.OperationalError(said)), rule)
        for of in (lambda error: error, of_sqlalchemy)
        for said, rule in (
            ("database is locked", "no connection"),
            ("database or disk is full", "no connection"),
            ("no such table: users", "program"),
            ('near "SELEC": syntax error', "program"),
        )
    ],
    (of_sqlalchemy(Exception("(2013, 'Lost connection to MySQL server during query')")), "no connection"),
    (of_sqlalchemy(Exception('(1054, "Unknown column")')), "program"),
    (sqlalchemy.exc.TimeoutError("QueuePool limit"), "no connection"),
    # Streams and tools of other processes.
    *[(error, "no connection") for error in (anyio.BrokenResourceError(), anyio.ClosedResourceError())],
    (http.client.LineTooLong("header line"), "no connection"),
    (http.client.InvalidURL("x"), "malformed address"),
    # The program's own key, at a service that is no LM.
    *[(of(401), "service's key") for of in (of_httpx, of_requests, of_urllib, of_aiohttp)],
    *[(of(403), "program") for of in (of_httpx, of_requests, of_urllib, of_aiohttp)],
    (botocore.exceptions.NoCredentialsError(), "service's key"),
    (of_botocore("ExpiredTokenException", 400), "service's key"),
    # Services by their words.
    *[
        (of_botocore(code, 400), "overloaded")
        for code in ("ProvisionedThroughputExceededException", "RequestLimitExceeded", "RequestTimeout", "SlowDown")
    ],
    (of_botocore("ModelErrorException", 424, "InvokeModel"), "unclear"),
    (
        of_botocore("ValidationException", 400, "Converse", "The provided model identifier is invalid."),
        "unknown model",
    ),
    # OpenAI's other things.
    (of_openai("vector_stores/vs_1/search", 404, "No vector store found with id 'vs_1'."), "program"),
    (of_openai("vector_stores/vs_1/search", 429, "slow down"), "overloaded"),
    (of_openai("responses", 404, "Item with id 'rs_1' not found."), "unclear"),
    (of_openai("chat/completions", 404, "Not Found"), "address"),
    # This machine.
    (OSError(errno.EMFILE, "too many open files"), "this machine"),
    (OSError(errno.ENOSPC, "no space left"), "this machine"),
    (MemoryError(), "this machine"),
    (RuntimeError("can't start new thread"), "this machine"),
    # The model, or the program.
    (unparseable(), "unparseable"),
    (second_try(), "second try"),
    (unclear_second_try(), "unparseable"),
    *[(error, "program") for error in (KeyError("answer"), ValueError("no number"), ZeroDivisionError())],
    *[
        (error, "program")
        for error in (FileNotFoundError(errno.ENOENT, "no file"), PermissionError(errno.EACCES, "no"))
    ],
    *[(error, "program") for error in (subprocess.TimeoutExpired("python", 5), subprocess.CalledProcessError(1, "x"))],
    *[(of(404), "program") for of in (of_httpx, of_requests, of_urllib, of_aiohttp)],
    (of_botocore("AccessDenied", 403), "program"),
    (json.JSONDecodeError("no JSON", "", 0), "program"),
    (requests.exceptions.InvalidURL("x"), "malformed address"),
    (httpx.UnsupportedProtocol("no scheme"), "malformed address"),
    (aiohttp.InvalidURL("x"), "malformed address"),
    # What was asked for.
    (openai_error(401, "bad key"), "wrong key"),
    (openai_error(429, "you have no credit", code="insufficient_quota"), "no credit"),
    (openai_error(400, "too long", code="context_length_exceeded"), "too long"),
    (of_botocore("AccessDeniedException", 403, "Converse"), "wrong key"),
    (of_botocore("ValidationException", 400, "Converse", "Input is too long for requested model."), "too long"),
    (openai_error(400, "`temperature` and `top_p` cannot both be specified for this model."), "temperature"),
    (openai_error(400, "temperature: range: 0..1 inclusive"), "temperature"),
    (openai_error(400, '"auto" tool choice requires --enable-auto-tool-choice to be set'), "option"),
    (openai_error(404, "Unable to access model m. Visit our page of models"), "unknown model"),
    # LiteLLM's own.
    (of_litellm("BadRequestError", 400, "LLM Provider NOT provided. You passed model=m"), "unknown model"),
    (of_litellm("ContentPolicyViolationError", 400), "filtered"),
    (of_litellm("JSONSchemaValidationError", 500), "unparseable"),
    (lm15.NotConfiguredError("no key"), "not configured"),
    (LMAuthError("no"), "wrong key"),
]


@pytest.mark.parametrize(("error", "rule"), ERRORS, ids=lambda value: repr(value)[:60])
def test_an_exception_is_taken_for_what_the_table_says(error, rule):
    assert verdict_of(error).rule.name == rule


@pytest.mark.parametrize(
    ("code", "said", "rule"),
    [
        (-32000, "Connection closed", "no connection"),
        (-32000, "Timed out while waiting", "no connection"),
        (-32602, "Invalid params", "program"),
    ],
)
def test_an_exception_of_mcp_is_taken_for_what_the_table_says(code, said, rule):
    exceptions = pytest.importorskip("mcp.shared.exceptions", reason="mcp is not installed")
    assert verdict_of(exceptions.MCPError(code, said)).rule.name == rule


def wrapped(message: str, code: object = None, kind: str = "invalid_request_error") -> dict:
    return {"error": {"message": message, "type": kind, "code": code}}


def flat(message: str) -> dict:
    """As vLLM and SGLang said it for years."""
    return {"object": "error", "message": message, "type": "BadRequestError", "param": None, "code": 400}


SHAPES = {
    # Longer than the context, which depends on the example.
    "openai: too long": (400, wrapped("The prompt does not fit.", "context_length_exceeded"), "too long"),
    "responses: too long": (400, wrapped("Your input exceeds the context window of this model."), "too long"),
    "azure: too long": (400, wrapped("Input tokens exceed the configured limit of 272000 tokens."), "too long"),
    "vllm: too long": (
        400,
        flat("This model's maximum context length is 4096 tokens. However, you requested 5000 tokens (4500 in the "
             "messages, 500 in the completion)."),
        "too long",
    ),
    "vllm: no room is left": (400, flat("max_tokens must be at least 1, got -186."), "too long"),
    "sglang: too long": (
        400, flat("The input (5000 tokens) is longer than the model's context length (4096 tokens)."), "too long",
    ),
    "llama.cpp: too long": (
        400,
        {"error": {"code": 400, "message": "request (14429 tokens) exceeds the available context size (8192 tokens)",
                   "type": "exceed_context_size_error", "n_ctx": 8192}},
        "too long",
    ),
    "llama.cpp as it was: too long": (500, wrapped("the request exceeds the available context size"), "too long"),
    "ollama: too long": (400, wrapped("the input length exceeds the context length"), "too long"),
    "tgi: too long": (
        422, {"error": "Input validation error: `inputs` must have less than 4096 tokens. Given: 5000"}, "too long",
    ),
    "anthropic: too long": (400, wrapped("prompt is too long: 215000 tokens > 200000 maximum"), "too long"),
    "gemini: too long": (
        400, wrapped("The input token count (1200000) exceeds the maximum number of tokens (1048576)."), "too long",
    ),
    "grok: too long": (
        400, {"code": "x", "error": "This model's maximum prompt length is 131072 but the request contains 537812."},
        "too long",
    ),
    "openrouter: too long": (
        400, wrapped("This endpoint's maximum context length is 131072 tokens. However, you requested 135721", 400),
        "too long",
    ),
    "litellm proxy: too long": (
        400, wrapped("litellm.ContextWindowExceededError: litellm.BadRequestError: too many tokens", "400"), "too long",
    ),
    "mistral: too long": (
        400, flat("Prompt contains 40000 tokens, too large for model with 32768 maximum"),
        "too long",
    ),
    "nginx: too large": (413, wrapped("Payload Too Large"), "too long"),
    "openai: string": (400, wrapped("Invalid 'messages[1].content': string too long.", "string_above_max_length"),
                       "too long"),
    "openai: more than a minute's": (
        429,
        wrapped("Request too large for gpt-4o on tokens per min (TPM): Limit 30000, Requested 45000.",
                "rate_limit_exceeded"),
        "too long",
    ),
    "moonshot: too long": (400, wrapped("Your request exceeded model token limit: 8192"), "too long"),
    "openrouter: of the provider behind it": (
        400,
        {"error": {"message": "Provider returned error", "code": 400,
                   "metadata": {"raw": "This model's maximum context length is 4096 tokens"}}},
        "too long",
    ),
    "moonshot: suspended": (
        429, wrapped("Your account org-x is suspended, please check your plan and billing details"), "no credit",
    ),
    "z.ai: balance": (429, wrapped("Insufficient balance or no resource package. Please recharge.", "1113"),
                      "no credit"),
    "siliconflow: balance": (403, {"code": 30001, "message": "Sorry, your account balance is insufficient"},
                             "no credit"),
    "dashscope: tokens of the minute": (
        429, wrapped("Allocated quota exceeded, please increase your quota limit.", "Throttling.AllocationQuota"),
        "overloaded",
    ),
    "anthropic: model": (404, {"error": {"type": "not_found_error", "message": "model: claude-x"}}, "unknown model"),
    "openrouter: providers": (404, wrapped("No allowed providers are available for the selected model.", 404),
                              "unknown model"),
    "azure: version": (400, wrapped("API version not supported", "BadRequest"), "address"),
    "minimax: filter": (200, {"choices": None, "base_resp": {"status_code": 1026, "status_msg": "input new_sensitive"}},
                        "filtered"),
    "volcengine: filter": (400, wrapped("The request failed because the input text may contain sensitive information.",
                                        "InputTextSensitiveContentDetected"), "filtered"),
    # What the model wrote, and the server did not pass on.
    "groq: no JSON": (400, wrapped("Failed to generate JSON.", "json_validate_failed"), "bad generation"),
    "groq: no call": (400, wrapped("Failed to call a function.", "tool_use_failed"), "bad generation"),
    # More output than there is room for, whatever the example.
    "vllm: bound": (
        400,
        flat("'max_tokens' or 'max_completion_tokens' is too large: 8192. This model's maximum context length is 4096 "
             "tokens and your request has 39 input tokens (8192 > 4096 - 39)."),
        "bound",
    ),
    "openai: bound": (
        400,
        wrapped("max_tokens is too large: 200000. This model supports at most 16384 completion tokens."),
        "bound",
    ),
    "openai: max_tokens by name": (
        400,
        wrapped("Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' "
                "instead.", "unsupported_parameter"),
        "max_tokens",
    ),
    # Refused by a filter.
    "azure: filter": (400, wrapped("The response was filtered", "content_filter"), "filtered"),
    "openai: filter": (
        400, wrapped("Your prompt was flagged as potentially violating our usage policy", "invalid_prompt"),
        "filtered",
    ),
    "grok: filter": (
        403,
        {"code": "permission-denied", "error": "Content violates usage guidelines. Check: SAFETY_CHECK_TYPE_BIO"},
        "filtered",
    ),
    "openrouter: moderation": (
        403, {"error": {"code": 403, "message": "your input was flagged", "metadata": {"reasons": ["x"]}}}, "filtered",
    ),
    "litellm proxy: guardrail": (400, wrapped("Violated guardrail policy", "400"), "filtered"),
    # Options.
    "openai: temperature": (
        400,
        wrapped("Unsupported value: 'temperature' does not support 0.7 with this model. Only the default (1) value is "
                "supported.", "unsupported_value"),
        "temperature",
    ),
    "anthropic: temperature": (400, wrapped("temperature: Input should be less than or equal to 1"), "temperature"),
    "fastapi: seed": (
        422,
        {"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]},
        "seed",
    ),
    "openai: seed": (400, wrapped("Unrecognized request argument supplied: seed"), "seed"),
    "litellm proxy: options": (
        400, wrapped("litellm.UnsupportedParamsError: x does not support parameters: ['top_k']", "400"), "option",
    ),
    "llama.cpp: form": (400, wrapped("response_format type must be one of text and json_object"), "form"),
    "vllm: tools": (400, flat("This model does not support tools"), "option"),
    "qwen: option": (
        400, wrapped("parameter.enable_thinking must be set to false", "invalid_parameter_error"), "option",
    ),
    "vllm: template": (400, flat("As of transformers v4.44, default chat template is no longer allowed"), "template"),
    "vllm: system": (400, flat("System role not supported"), "template"),
    # The model, the address, the key, the credit.
    "openai: model": (404, wrapped("The model `x` does not exist", "model_not_found"), "unknown model"),
    "vllm: model": (
        404, {"object": "error", "message": "The model `x` does not exist.", "type": "NotFoundError", "code": 404},
        "unknown model",
    ),
    "ollama: model": (404, wrapped("model 'x' not found"), "unknown model"),
    "openrouter: model": (400, wrapped("x is not a valid model ID", 400), "unknown model"),
    "litellm proxy: model": (400, wrapped("Invalid model name passed in model=x", "400"), "unknown model"),
    "azure: model": (
        404, wrapped("The API deployment for this resource does not exist", "DeploymentNotFound"),
        "unknown model",
    ),
    "ollama without /v1": (404, "404 page not found", "address"),
    "fastapi without /v1": (404, {"detail": "Not Found"}, "address"),
    "llama.cpp without /v1": (
        404, {"error": {"code": 404, "message": "File Not Found", "type": "not_found_error"}},
        "address",
    ),
    "a web page": (405, "<html>Method Not Allowed</html>", "address"),
    "nginx: http at https": (400, "<html>400 The plain HTTP request was sent to HTTPS port</html>", "address"),
    "api gone": (410, {"message": "Gone"}, "address"),
    **{f"a redirection: {status}": (status, {"detail": "moved"}, "address") for status in (301, 302, 304, 307, 308)},
    # With success, and neither a reply nor an error: whatever its words, they are not about the request.
    "a page that filters": (200, "<html>Your request was flagged and violates our usage policy</html>", "page"),
    "a page about credit": (203, "<html>Payment required: out of credits</html>", "page"),
    "nothing": (200, "", "page"),
    "queued": (202, [], "page"),
    "tgi's own": (200, [{"generated_text": "context length exceeded"}], "page"),
    "choices that are none": (200, {"id": "x", "choices": {"message": {"content": "insufficient quota"}}}, "page"),
    "events": (200, 'data: {"choices": []}\n\ndata: [DONE]', "page"),
    # With success, and an error.
    "lm studio": (200, {"error": "Unexpected endpoint or method. (POST /chat/completions)"}, "address"),
    "an error in a 200: option": (200, wrapped("Unsupported parameter: 'stop'", "unsupported_parameter"), "option"),
    "an error in a 200: filter": (200, wrapped("flagged", "content_filter"), "filtered"),
    "an error in a 200: nothing known": (200, wrapped("model is loading"), "overloaded"),
    "an error in a 200: key": (200, {"base_resp": {"status_msg": "login fail: carry the API secret key"}}, "wrong key"),
    "fastapi in a 200": (200, {"detail": "busy"}, "overloaded"),
    "openai: key": (401, wrapped("Incorrect API key provided", "invalid_api_key"), "wrong key"),
    "proxy: key": (403, {"detail": "Forbidden"}, "wrong key"),
    "openai: credit": (
        429, wrapped("You exceeded your current quota", "insufficient_quota", "insufficient_quota"),
        "no credit",
    ),
    "openrouter: credit": (402, {"error": {"code": 402, "message": "Insufficient credits"}}, "no credit"),
    "anthropic: credit": (400, wrapped("Your credit balance is too low to access the API"), "no credit"),
    "litellm proxy: budget": (
        400, wrapped("Budget has been exceeded! Current cost: 3", "400", "budget_exceeded"),
        "no credit",
    ),
    "openai: account": (
        429, wrapped("Your account is not active, please check your billing details", "billing_not_active"),
        "no credit",
    ),
    "openrouter: key's limit": (403, wrapped("Key limit exceeded (total limit)"), "no credit"),
    "an error in a 200: credit": (200, wrapped("no", "insufficient_quota", "insufficient_quota"), "no credit"),
    "ollama: memory": (
        500, wrapped("model requires more system memory (5.3 GiB) than is available (3.3 GiB)"),
        "no room",
    ),
    # The endpoint's own.
    "gemini: quota of the minute": (
        429, wrapped("You exceeded your current quota. Please retry in 34s."),
        "overloaded",
    ),
    "openai: rate": (
        429, wrapped("Rate limit reached: tokens per min (TPM): Limit 30000", "rate_limit_exceeded"),
        "overloaded",
    ),
    "vllm: down": (500, flat("EngineCore encountered an issue"), "overloaded"),
    "llama.cpp: loading": (503, wrapped("Loading model"), "overloaded"),
    "nginx": (502, "<html><title>502 Bad Gateway</title></html>", "overloaded"),
    "cloudflare": (524, "error code: 524", "overloaded"),
    "openrouter: upstream": (200, {"error": {"code": 502, "message": "Provider returned error"}}, "overloaded"),
    "no choices": (200, {"id": "x", "choices": []}, "overloaded"),
    "unclear": (400, wrapped("something about this one"), "unclear"),
}  # fmt: skip


REFUSALS = {
    "bound": [
        "`max_completion_tokens` must be less than or equal to `8192`, the maximum value for `max_completion_tokens` "
        "is less than the `context_window` for this model",
    ],
    "too long": [
        "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4097. Given: 3000 `inputs` tokens",
        "Range of input length should be [1, 30720]",
        "length of prompt_tokens (40000) must be less than max_seq_len (32768).",
        "Illegal param: prefill 744 tokens exceed n_ctx_per_seq",
        "Prompt 超长",
    ],
    "max_tokens": [
        "Input validation error: `max_new_tokens` must be <= 512. Given: 1024",
        "Requests with max_tokens > 4096 must have stream=true",
    ],
    "temperature": ["temperature 参数非法。"],
    "filtered": [
        "Content Exists Risk",
        "litellm.ContentPolicyViolationError: OpenAIException - Your request was rejected.",
    ],
    "no credit": [
        "You have reached your specified API usage limits. You will regain access on 2025-11-01 at 00:00 UTC.",
        "Gemini API free tier is not available in your country. Please enable billing on your project.",
    ],
    "wrong key": [
        "API key expired. Please renew the API key.",
        "Organization has been restricted. Please reach out to support.",
        "This organization has been disabled.",
    ],
    "option": [
        "Multiple candidates is not enabled for this model",
        "Cannot use custom grammar constraints with tools.",
        "stop cannot contain an empty string.",
        "Unsupported parameter: 'stop' is not supported with this model.",
        "Invalid 'stop': array too long. Expected an array with maximum length 4, but got one with length 5.",
        "Unrecognized request arguments supplied: best_of, echo",
        "Invalid 'n': integer above maximum value. Expected a value <= 8, but got 128 instead.",
        "Unsupported value: 'reasoning_effort' does not support 'minimal' with this model.",
        "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
        "Invalid 'user': string too long. Expected a string with maximum length 64.",
        "Function tools with reasoning_effort are not supported for x in /v1/chat/completions.",
        "Invalid 'tools[0].function.name': string does not match pattern.",
        "logprobs, best_of and echo parameters are not available on x model. Please remove the parameter.",
        "Additional properties are not allowed ('reasoning_effort' was unexpected)",
        "[{'type': 'value_error', 'loc': ('body', 'n'), 'msg': 'Input should be less than or equal to 16'}]",
        "[{'type': 'extra_forbidden', 'loc': ('body', 'foo'), 'msg': 'Extra inputs are not permitted', 'input': 1}]",
        "n must be 1 when using greedy sampling, got 3.",
        "top_k must be 0 (disable), or at least 1, got -5.",
        "Requested sample logprobs of 30, which is greater than max allowed: 20",
        'tool_choice = "required" is not supported!',
        "The min_p and logit_bias sampling parameters are not yet supported with speculative decoding.",
        "tools param requires --jinja flag",
        "Only one completion choice is allowed",
        "image input is not supported - hint: you may need to provide the mmproj",
        '"stop" must be either a string or an array of strings',
        '"llama3" does not support thinking',
        "json: cannot unmarshal string into Go struct field ChatCompletionRequest.top_p of type float64",
        "'stop' field must be a string or array of strings",
        "No endpoints found that can handle the requested parameters.",
        "'n' : number must be at most 1",
        "property 'foo' is unsupported",
        "`reasoning_effort` must be one of `none` or `default`",
        "top_p must be 1 when using greedy sampling.",
        'Invalid JSON payload received. Unknown name "foo": Cannot find field.',
        "Penalty is not enabled for models/x",
        "`top_k` must be unset when thinking is enabled.",
        "adaptive thinking is not supported on this model",
        "stop_sequences: each stop sequence must contain non-whitespace",
        "Malformed input request: #: extraneous key [stop] is not permitted, please reformat your input.",
        "This model doesn't support the stopSequences field. Remove stopSequences and try again.",
        "This model doesn't support tool use.",
        "x does not support this parameter: logprobs",
        "Argument not supported on this model: stop",
        "Input validation error: `stop` supports up to 4 stop sequences. Given: 5",
        "Failed to deserialize the JSON body: logit_bias: invalid type: map, expected a sequence",
        'Bad request: json: unknown field "foo"',
    ],
    "form": [
        "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.",
        "This response_format type is unavailable now",
        "Function calling with a response mime type: 'application/json' is unsupported",
    ],
    "seed": ["body -> seed extra fields not permitted (type=value_error.extra)"],
    "unknown model": [
        "The model `x` has been decommissioned and is no longer supported.",
        "No models loaded. Please load a model in the developer page.",
        "This is not a chat model and thus not supported in the v1/chat/completions endpoint.",
        '"nomic-embed-text" does not support chat',
        "The model `qwen-thinking` does not exist; unknown parameter is not what is wrong",
        "Unavailable model: o1",
        "模型不存在",
    ],
    "template": [
        "This model doesn't support system messages. Try again without system messages.",
        "Developer instruction is not enabled for models/x",
        'Error rendering prompt with jinja template: "Only user and assistant roles are supported!".',
        "After the (optional) system message(s), user and assistant roles should be alternating.",
    ],
    "unclear": [
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'.",
        "You uploaded an unsupported image. Please make sure it has one of the formats: ['png', 'jpeg'].",
        "At most 1 image(s) may be provided in one prompt.",
        "messages: text content blocks must be non-empty",
        "Request contains an invalid argument.",
        "Value error, messages must not be empty [type=value_error, input_value={'messages': [], 'top_p': 1}]",
    ],
}


@pytest.mark.parametrize(("rule", "said"), [(rule, said) for rule, all_said in REFUSALS.items() for said in all_said])
def test_what_is_refused_is_known_by_its_name_in_the_words_of_each_server_and_is_named(rule, said):
    for status in (400, 422):
        verdict = verdict_of(LMInvalidRequestError(f"[openai/kimi-thinking] {said}", status=status))
        assert verdict.rule.name == rule
        assert said.rstrip(".") in verdict.sentence


@pytest.mark.parametrize(
    ("said", "rule"),
    [
        ("Internal error: invalid value encountered in top_k", "overloaded"),
        ("grammar: unexpected state", "overloaded"),
        ("image input is not supported - hint: you may need to provide the mmproj", "option"),
        ("tools param requires --jinja flag", "option"),
    ],
)
def test_of_a_500_only_plain_words_are_about_the_request(said, rule):
    assert verdict_of(LMServerError(said, status=500)).rule.name == rule


@pytest.mark.parametrize("engine", ["lm15", "litellm"])
@pytest.mark.parametrize("shape", SHAPES)
def test_an_endpoints_words_are_taken_for_what_the_table_says(shape, engine):
    status, body, rule = SHAPES[shape]
    with stub(lambda n: (status, body, {})) as server, metered(lm(server.api_base, engine=engine)):
        with pytest.raises(Exception) as caught:  # noqa: PT011 - of every class
            dspy.Predict(QA)(question="q?")
        assert verdict_of(caught.value).rule.name == rule, verdict_of(caught.value).sentence
        assert server.requests == 1


ANTHROPIC, GEMINI = "anthropic/claude-3-5-haiku-latest", "gemini/gemini-2.0-flash"
NATIVE = {
    "anthropic: tokens of the minute": (
        ANTHROPIC, 429,
        {"error": {"type": "rate_limit_error",
                   "message": "This would exceed your rate limit of 40,000 input tokens per minute"}},
        "overloaded",
    ),
    "gemini: prompt": (GEMINI, 200, {"promptFeedback": {"blockReason": "SAFETY"}}, "filtered"),
    "gemini: answer": (GEMINI, 200, {"candidates": [{"finishReason": "RECITATION"}]}, "filtered"),
    "gemini: answer, in words": (
        GEMINI, 200, {"candidates": [{"finishReason": "SPII", "finishMessage": "There was an address"}]}, "filtered",
    ),
    "gemini: no call": (
        GEMINI, 200,
        {"candidates": [{"finishReason": "MALFORMED_FUNCTION_CALL", "finishMessage": "Malformed function call: f("}]},
        "bad generation",
    ),
    "gemini: nothing": (GEMINI, 200, {"candidates": []}, "overloaded"),
}  # fmt: skip


@pytest.mark.parametrize("shape", NATIVE)
def test_what_a_provider_says_in_its_own_api_is_taken_for_what_the_table_says(shape):
    model, status, body, rule = NATIVE[shape]
    with stub(lambda n: (status, body, {})) as server:
        asked = dspy.LM(model, api_base=server.api_base, api_key="x", num_retries=0, cache=False)
        with metered(asked), pytest.raises(Exception) as caught:  # noqa: PT011 - of every class
            dspy.Predict(QA)(question="q?")
    assert verdict_of(caught.value).rule.name == rule
    assert may_pass(caught.value) is (rule == "overloaded")


def test_a_request_that_cannot_succeed_says_what_to_change_in_one_line():
    fatal = [rule for rule in RULES if rule.taken_for == "request"]
    assert all(rule.remark for rule in fatal)
    error = LMInvalidRequestError("Unsupported value:\n'temperature'.\n\n  To fix:\n - nothing", status=400)
    assert verdict_of(error).sentence == (
        "LMInvalidRequestError: Unsupported value: 'temperature'; "
        "give temperature=None, with which each LM keeps its own, or the one that the model takes"
    )


def test_the_page_of_verdicts_is_the_table():
    written = verdicts_page.PAGE.read_text(encoding="utf-8")
    assert written == verdicts_page.page(), "python -m tests.verdicts_page writes it again"
