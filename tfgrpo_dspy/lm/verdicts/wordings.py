"""What facts say, in predicates: the wordings of providers and servers, and the errors of common clients."""

from __future__ import annotations

import re
from collections.abc import Callable
from http import HTTPStatus
from typing import TypeAlias

from tfgrpo_dspy.lm.verdicts.facts import SUCCESS, Facts

Predicate: TypeAlias = Callable[[Facts], bool]

LENGTH = "max_?(?:completion_|output_|new_)?tokens|num_predict|maxoutputtokens"
"""The bound on the output, in the names of all APIs."""
_BEGINNING = 600
"""Characters of a message in which an option must be named; further on, servers echo what they were sent."""
_REFUSED = frozenset({None, 400, 403, 404, 422, 500})
"""Statuses of a refusal, among which 500 is that of old servers."""
_ASKED_TOO_OFTEN = HTTPStatus.TOO_MANY_REQUESTS
_DENIED = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.PROXY_AUTHENTICATION_REQUIRED})
_ELSEWHERE = frozenset({*range(300, 400), 405, 406, 410, 411, 415, 421, 426, 501, 505})
"""Redirections, and what is said of a method, a protocol or a kind of document, whatever is asked with it."""
_LATER = frozenset({408, 409, 423, 425, 429})
_LOCKED_OUT = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.PROXY_AUTHENTICATION_REQUIRED})
NO_REPLY = "no_reply"
"""Our own code for what came with success, and is neither a reply nor an error that says what it is about."""
UNEXPECTED = "dspy.LMUnexpectedError"
"""DSPy's wrapper of whatever else an engine raises: what is behind it says more."""


def _found(*patterns: str) -> Callable[[str], bool]:
    search = re.compile("|".join(patterns)).search
    return lambda text: search(text) is not None


_REFUSES = (
    "unsupported|not support|only the default|unrecognized|unexpected|unknown|extra (?:inputs|fields)",
    "not permitted|not allowed|not accept|invalid|deprecated|must be|should be|cannot (?:both )?be|can't be|range:",
    "too large|too high|at most|out of range|less than|greater than|maximum allowed|exceeds? the",
)
_refuses_whatever = _found(*_REFUSES)
"""In words that are about what was asked, also where the status is that of a failure."""
_refuses = _found(
    *_REFUSES,
    "supported|allowed|not enabled|enabled only|requires|n[o']t available|unavailable|not be|n't be|must contain",
    "too long|too many|at least|above maximum|below minimum|range|only one|only be|either|mandatory|failed to",
    "input should|should match|unmarshal|deserialize|validation error|extraneous|greater|smaller|out-of-vocab",
    "cannot (?:use|contain)|must have|非法|不支持",
)
_ECHO = re.compile(r"input_value=|['\"]input['\"]:")
"""What follows is what was sent."""
_OPTIONS = "|".join(
    (
        r"\b(?:top|min|typical)[_-]?[pk]\b|\b(?:top_|prompt_)?logprobs?\b|\bn_probs\b|\bbest_?of\b|logit_?bias|penalty\b",
        r"stop_?(?:sequences?|token_ids)|stream[ _]options|tool[ _]?choice|parallel_?tool_?calls|tools?[.\[]\d",
        r"reasoning[_. ]?(?:effort|format|max_tokens)|budget_tokens|(?<![-\w])thinking\b|service_tier|verbosity",
        r"chat_template_kwargs|prompt_cache|\bjson mode\b|\becho\b|\bsuffix\b|\bregex\b|safety_id|\bgrammar\b",
        r"['\"`\[](?:n|p|k|stop|tools?|user|store|stream|metadata|functions?|modalities|audio|prediction)['\"`\]\[. ]",
        r"\b(?:param|parameter|argument|field|supplied|model):? (?:n|stop|tools?|user|stream|store)\b",
        r"\b[npk] must be\b|\bstop cannot\b|\breasoning is\b",
    )
)
"""Of a request, in the names of all APIs; those that are also plain words only where they stand as names."""
_names_a_model = _found(r"\bmodels?\b|deployment|endpoints found")
CONTENT = _found(
    "content (?:management|filter|policy)|content_filter|usage guidelines|safety_check|flagged",
    r"\bmoderation\b",
    r"responsible ?ai|violat\w+ (?:our|the|usage|content|guardrail)|guardrail|inappropriate content|contentpolicy",
    "prohibited content|sensitive ?(?:content|information)|new_sensitive|敏感内容|content exists risk",
    "data_inspection_failed|invalid_prompt|(?:candidate|prompt) blocked",
    "^(?:safety|recitation|language|blocklist|prohibited_content|spii|promptfeedback)$",
)
_too_long = _found(
    "context[ _-]?(?:length|window|size|limit)|maximum (?:context|model|prompt|sequence|input) ?length",
    "(?:prompt|input|message)s? (?:is|are) too long|too long for (?:requested|the|this) model",
    "too many (?:input )?tokens|request too large|payload too large|request entity too large",
    r"longer than the (?:maximum )?model|(?:token count|input tokens?|prompt|requested tokens)[^.]{0,40} exceeds?\b",
    r"inputs?`? must have less than \d+ tokens|inputs`? tokens \+ |reduce the length of|size limit exceeded",
    "too large for model with|max_tokens must be at least 1, got -|context the overflows|超长|exceed n_ctx",
    "range of input length|less than max_seq_len",
    r"(?:messages|input|content)\b[^:]{0,20}: string too long|exceeded model token limit",
)
_MONEY = (
    "insufficient[ _](?:credit|balance|funds)|(?:credit|overdue) balance|balance is insufficient|payment required",
    "(?:over|exceeded) ?budget|budget_exceeded|budget has been exceeded|out of credits|(?:any|available) credits",
    "billing_(?:not_active|hard_limit)|billing hard limit|enable billing|spending limit|arrearage|欠费",
    r"account\b[^.]{0,60} suspended|specified api usage limits|free tier of the model has been exhausted",
)
_no_money = _found(*_MONEY)
_no_credit = _found(
    *_MONEY,
    "insufficient[ _]quota|exceeded[ _](?:your[ _])?current[ _]quota|check your billing|key limit exceeded",
)
_no_model = _found(
    r"model_not_found|deploymentnotfound|endpoints found (?!that)|could not resolve the foundation model",
    r"(?:model|deployment)\b[^.]{0,80}(?:not found|not exist|not a valid|isn't valid|on-demand throughput isn)",
    r"(?:model|deployment)\b[^.]{0,80}(?:decommissioned|been (?:deprecated|retired|removed)|no longer (?:supp|avail))",
    "model (?:identifier|id|name) is invalid|no models? (?:is |are )?loaded|models are loaded|specify a model",
    "(?:invalid|unknown|no such) model|not a valid model|unable to access model|llm provider not provided",
    "not a chat model|only supported in v1/|does(?:n't| not) support (?:chat|generat)|work with the specified model",
    "unavailable[ _]model|model_not_supported|model_terms_required|access non-serverless model|模型不存在",
)
_no_key = _found(
    "invalid_api_key|authentication_error|permission_error|unrecognizedclient|accessdenied|expiredtoken",
    "invalidsignature|(?:incorrect|invalid) (?:api|access) ?(?:key|token)",
    "api[ _]key[^.]{0,60}(?:must be set|not (?:provided|set|found|valid)|invalid|missing|expired)|api secret key",
    "(?:user )?location is not supported|unsupported_country|organization has been (?:disabled|restricted)",
)
NO_ROOM = _found("requires more system memory|(?:failed|unable) to load (?:the )?model|model failed to load")
NO_TEMPLATE = _found(
    "chat template|chat_template|jinja template|template error|system (?:role|messages?) (?:is |are )?not supported",
    "n[o']t support system|developer instruction|roles? (?:must|should)(?: be)? alternat|expected last role",
)
BAD_GENERATION = _found(
    "failed_generation|json_validate_failed|tool_use_failed",
    "malformed_(?:function_call|response)|unexpected_tool_call|too_many_tool_calls",
)
_no_route = _found(
    r"unexpected endpoint or method|invalid url \(|http request (?:was sent )?to (?:an )?https|api-version",
    "api version not supported|no route for that uri",
)
_is_a_thing = _found(r"\bwith id\b")
_of_unknown_option = _found(
    "unsupported_(?:parameter|value)|unknown_parameter|invalid_parameter|unexpected keyword|requires --[a-z]",
    "(?:unsupported|unknown|unrecognized|invalid|unexpected|additional) (?:param|value|field|name|option|propert)",
    "(?:unsupported|unknown|unrecognized|unexpected) (?:request )?argument|only one (?:completion|candidate)",
    r"extra inputs are not permitted|property \S+ is unsupported|multiple candidates",
    "does(?:n't| not) support |no endpoints found that|not a multimodal model|at most 0 |only supports? stream",
    r"(?:tools?|tool use|function calling|image (?:input|data|content)|multimodal|audio input)\b[^.:]{0,20} not "
    "(?:supported|enabled)|data required for image|image_url is only supported",
)
_is_unsupported = _found("n(?:o|')t support|unsupported|requires --[a-z]")
_passing_code = _found(
    "throttl|toomanyrequests|slowdown|unavailable|internal(?:server|error|failure)|modeltimeout|modelnotready",
    "deadline_exceeded|resource_exhausted|rate_limit|overloaded|throughputexceeded|requestlimitexceeded",
    "bandwidthlimitexceeded|requesttimeout|transactioninprogress|priorrequestnotcomplete",
)
_database_is_down = _found(
    "is locked|disk i/o error|disk is full|unable to open database|too many (?:connections|clients)|deadlock",
    "(?:can't|could not|cannot|failed to) connect|lost connection|gone away|connection (?:refused|reset|timed out)",
    "lock wait timeout|closed the connection|terminating connection|connection (?:was|is|has been) closed",
)
_passing_class = _found(
    "Connect(?:ion)?(?:Error|Failure|Timeout|Closed|Reset|Refused|Aborted|Lost)|(?:Read|Write|Pool|Request)Timeout",
    "GatewayTimeout|DeadlineExceeded|ServiceUnavailable|RateLimit|TooManyRequests|Throttl|Overloaded|Disconnected",
    "NetworkError|TransportError|BadGateway|InternalServerError|NameResolution",
)
_mcp_is_down = _found("connection closed|timed out")
_credentials_ran_out = _found("expiredtoken|tokenrefreshrequired")
_NETWORK = frozenset(
    "ECONNREFUSED ECONNRESET ECONNABORTED EPIPE ENETDOWN ENETUNREACH ENETRESET EHOSTDOWN EHOSTUNREACH ETIMEDOUT "
    "EADDRNOTAVAIL ENOTCONN ESHUTDOWN".split()
)
_MACHINE = frozenset({"EMFILE", "ENFILE", "ENOSPC", "ENOMEM", "EDQUOT", "EIO", "EAGAIN", "ESTALE"})
_TRANSPORT = frozenset(
    {
        *("builtins.ConnectionError", "builtins.TimeoutError", "socket.gaierror", "socket.herror", "ssl.SSLError"),
        *("asyncio.IncompleteReadError", "http.IncompleteRead", "http.BadStatusLine", "http.ImproperConnectionState"),
        *("http.LineTooLong", "http.UnknownProtocol", "http.UnknownTransferEncoding", "playwright.TimeoutError"),
        *("anyio.BrokenResourceError", "anyio.ClosedResourceError", "anyio.EndOfStream", "selenium.TimeoutException"),
        *("urllib.ContentTooShortError", "urllib3.TimeoutError", "urllib3.ProtocolError", "urllib3.MaxRetryError"),
        *("urllib3.SSLError", "urllib3.ProxyError", "urllib3.PoolError", "urllib3.DecodeError", "requests.Timeout"),
        *("requests.ChunkedEncodingError", "requests.ContentDecodingError", "requests.RetryError", "requests.SSLError"),
        *("httpx.TransportError", "httpx.DecodingError", "httpcore.NetworkError", "httpcore.TimeoutException"),
        *("httpcore.ProtocolError", "aiohttp.ClientConnectionError", "aiohttp.ClientPayloadError"),
        *("openai.APITimeoutError", "anthropic.APITimeoutError", "litellm.Timeout", "botocore.HTTPClientError"),
        *("botocore.ResponseStreamingError", "redis.TimeoutError", "pymongo.ConnectionFailure"),
        *("psycopg.OperationalError", "psycopg2.OperationalError", "sqlalchemy.TimeoutError"),
        *("dspy.LMTransportError", "dspy.LMTimeoutError", "dspy.LMLockTimeoutError", "dspy.LMStreamAssemblyError"),
        *("dspy.TransportError", "dspy.TimeoutError", "dspy.LockTimeoutError", "dspy.StreamAssemblyError"),
    }
)


def among(*names: str) -> Predicate:
    """Whether the error is of one of the classes."""
    return lambda facts: facts.is_a(*names)


def of_lm(holds: Predicate) -> Predicate:
    """The same, of a language model's client only: of others, the words are about something else."""
    return lambda facts: facts.is_of_an_lm and holds(facts)


def says(found: Callable[[str], bool]) -> Predicate:
    """Whether message or code have the wording."""
    return lambda facts: found(facts.text) or found(facts.code)


def is_refused(facts: Facts) -> bool:
    """Whether the endpoint took offence at the request, rather than at how often it came."""
    return facts.status in _REFUSED and not facts.is_a("dspy.LMRateLimitError", "dspy.RateLimitError")


def is_filtered(facts: Facts) -> bool:
    """Whether a filter refused the question or the answer."""
    return facts.is_a("litellm.ContentPolicyViolationError") or (is_refused(facts) and says(CONTENT)(facts))


def refuses_option(option: str) -> Predicate:
    """Whether the endpoint refuses an option of the request, named by a pattern."""
    is_named = _found(option)

    def holds(facts: Facts) -> bool:
        said = _ECHO.split(facts.text, maxsplit=1)[0]
        refuses = _refuses_whatever if facts.status == HTTPStatus.INTERNAL_SERVER_ERROR else _refuses
        return is_refused(facts) and is_named(said[:_BEGINNING]) and refuses(said)

    return holds


_refuses_an_option = refuses_option(_OPTIONS)


def refuses_some_option(facts: Facts) -> bool:
    """Whether the endpoint refuses any option, or a kind of input."""
    is_plain = facts.status != HTTPStatus.INTERNAL_SERVER_ERROR or _is_unsupported(facts.text)
    return is_plain and is_refused(facts) and (says(_of_unknown_option)(facts) or _refuses_an_option(facts))


def bound_is_too_large(facts: Facts) -> bool:
    """Whether the output asked for does not fit by itself, however short the prompt."""
    if re.search(rf"maximum value for `?(?:{LENGTH})", facts.text):
        return is_refused(facts)
    limit = re.search(r"(?:context length is|supports? at most|maximum (?:allowed|of)\D{0,20}) ?(\d+)", facts.text)
    asked = re.search(rf"(?:(?:{LENGTH})\D{{0,60}}: |messages, )(\d+)", facts.text)
    fits = limit is None or asked is None or int(asked[1]) < int(limit[1])
    return is_refused(facts) and not fits


def is_too_long(facts: Facts) -> bool:
    """Whether the prompt is longer than the context."""
    if "request too large" in facts.text:  # for what the account may send in a minute: it will be in the next one, too
        return True
    if facts.status == _ASKED_TOO_OFTEN:
        return False
    known = ("dspy.ContextWindowExceededError", "dspy.ContextLengthError", "litellm.ContextWindowExceededError")
    is_known = facts.is_a(*known) or facts.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    return is_known or says(_too_long)(facts)


def has_no_credit(facts: Facts) -> bool:
    """Whether nobody pays; "quota" alone, with 429, is a matter of minutes with some providers."""
    known = ("dspy.LMBillingError", "dspy.BillingError", "litellm.BudgetExceededError")
    if facts.is_a(*known) or facts.status == HTTPStatus.PAYMENT_REQUIRED or _no_credit(facts.code):
        return True
    return _no_money(facts.text) or (facts.status != _ASKED_TOO_OFTEN and _no_credit(facts.text))


def has_no_model(facts: Facts) -> bool:
    """Whether there is no model of that name."""
    if is_no_address(facts) or "endpoints found that" in facts.text:
        return False
    known = ("dspy.LMUnsupportedModelError", "dspy.UnsupportedModelError", "dspy.UnknownModelError")
    if facts.is_a(*known) or (facts.status == HTTPStatus.NOT_FOUND and _names_a_model(facts.text)):
        return True
    return is_refused(facts) and says(_no_model)(facts)


def is_no_address(facts: Facts) -> bool:
    """Whether something else than an endpoint for language models answered."""
    if facts.status in _ELSEWHERE or _no_route(facts.text):
        return True
    is_of_a_model = _no_model(facts.code) or _names_a_model(facts.text)
    return facts.status == HTTPStatus.NOT_FOUND and not is_of_a_model and not _is_a_thing(facts.text)


def has_no_key(facts: Facts) -> bool:
    """Whether the caller is not let in."""
    known = ("dspy.LMAuthError", "dspy.AuthError", "botocore.NoCredentialsError", "google.DefaultCredentialsError")
    if facts.is_a(*known) or facts.status in _DENIED:
        return True
    return facts.status != _ASKED_TOO_OFTEN and says(_no_key)(facts)


def is_down(facts: Facts) -> bool:
    """Whether a connection failed, or no answer came in time, whoever's client it was."""
    if facts.errno in _NETWORK or facts.is_a(*_TRANSPORT):
        return True
    if facts.is_a("urllib.URLError") and facts.status is None:
        return "unknown url type" not in facts.text
    if facts.is_a("mcp.MCPError", "mcp.McpError"):
        return _mcp_is_down(facts.text)
    if any(name.endswith(".OperationalError") for name in facts.classes):
        return _database_is_down(facts.text)
    return any(_passing_class(name.partition(".")[2]) for name in facts.classes)


def is_overloaded(facts: Facts) -> bool:
    """Whether a service could not answer now."""
    if facts.is_a("dspy.LMRateLimitError", "dspy.RateLimitError", "dspy.LMServerError", "dspy.ServerError"):
        return True
    is_late = facts.status is not None and (facts.status in _LATER or facts.status >= HTTPStatus.INTERNAL_SERVER_ERROR)
    return is_late or _passing_code(facts.code)


def is_no_reply(facts: Facts) -> bool:
    """Whether what came with success was no reply."""
    known = (UNEXPECTED, "litellm.APIResponseValidationError", "openai.APIResponseValidationError")
    return facts.status in SUCCESS or facts.is_a(*known)


def has_no_key_here(facts: Facts) -> bool:
    """Whether a service that is no language model does not let the program in; of 403, pages are as often the cause."""
    known = ("botocore.NoCredentialsError", "botocore.PartialCredentialsError", "botocore.CredentialRetrievalError")
    of_google = ("google.DefaultCredentialsError", "google.RefreshError")
    is_denied = facts.status in _LOCKED_OUT or facts.is_a(*known, *of_google)
    return is_denied or _credentials_ran_out(facts.code)


def is_of_this_machine(facts: Facts) -> bool:
    """Whether this machine lacks something."""
    return facts.errno in _MACHINE or facts.is_a("builtins.MemoryError") or "can't start new thread" in facts.text
