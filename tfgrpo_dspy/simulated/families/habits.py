"""What an agent can do rightly or wrongly with its tools: forks that several families of tasks share."""

from __future__ import annotations

from dataclasses import replace

from tfgrpo_dspy.simulated.families.model import Fork

NEEDLESS = Fork(
    "needless",
    0.55,
    right=("work this out by hand", "calculate this directly by head"),
    wrong=("hand plain sums to the tool", "call the tool for a single line"),
    remedy=(("by hand|by head|mental",),),
    lure=(("tool|code|program|script", "hand|call|run|use|write"),),
)
IMPORT = Fork(
    "import",
    0.45,
    right=("write the imports first", "import each function before its use"),
    wrong=("call library functions straight away", "use library functions as though loaded"),
    remedy=(("imports?",),),
    lure=(("librar|functions", "straight|as though|right away|at once"),),
)
PRINT = Fork(
    "print",
    0.4,
    right=("print the result in the last line", "let the code print its result"),
    wrong=("leave the result as a bare expression", "end the code on an expression"),
    remedy=(("print",),),
    lure=(("expression",),),
)
FLOAT = Fork(
    "float",
    0.5,
    right=("keep to exact integers and fractions", "compute with exact numbers throughout"),
    wrong=("compute with floating point numbers", "let decimals stand in for the numbers"),
    remedy=(("exact(?!ly)",),),
    lure=(("float|decimals?",),),
)
RANGE = Fork(
    "range",
    0.5,
    right=("let the range run one past the last number", "make the range inclusive of its upper bound"),
    wrong=("use the last number as the end of the range", "let the range stop at the upper bound"),
    remedy=(("one past|one beyond|inclusive|plus one|both ends|includ",),),
    lure=(("stop|end", "range|loop"),),
)
OVERLAP = Fork(
    "overlap",
    0.5,
    right=("let a number that meets both conditions count once", "join the conditions with or in one test"),
    wrong=("add up the totals of the two conditions", "make one sum per condition and add the sums"),
    remedy=(("both|overlap", "once|one time|subtract"), ("join|combin|one test|single test", "conditions?")),
    lure=(("add", "totals?|sums?"),),
)
ORDER = Fork(
    "order",
    0.5,
    right=("take the coins one kind after the other so that order is ignored", "count each selection a single time"),
    wrong=("count every sequence of coins", "let each arrangement count on its own"),
    remedy=(("order", "ignor|regardless|whatever|irrelevant"), ("selection|multiset|combination", "single|once|one")),
    lure=(("every|each|all", "sequence|arrangement|permutation"),),
)
CHECK = Fork(
    "check",
    0.6,
    right=("compare the output with a second program", "verify the output by another method"),
    wrong=("submit the first output as it is", "answer with the first output"),
    remedy=(("second|another|independent|different", "program|method|way|count"),),
    lure=(("first|single", "output|run|result"),),
)
SHAPELESS = frozenset({"needless", "import", "print", "check"})
"""Forks that change how an agent goes about it, and not what right code would compute."""

SNIPPET = Fork(
    "snippet",
    0.5,
    right=("open the page that a hit points to", "read the whole page behind a hit"),
    wrong=("answer from a snippet in the list of hits", "trust the snippet of a hit"),
    remedy=(("open|read|visit|click", "pages?|source"),),
    lure=(("snippet",),),
)
NAMESAKE = Fork(
    "namesake",
    0.55,
    right=("choose the hit whose title is exactly the name asked about", "match the title of a hit to the exact name"),
    wrong=("choose the hit at the top of the list", "take the first hit as it comes"),
    remedy=(("exact|precise|very", "name|title|match"),),
    lure=(("first|top", "hits?|results?|list"),),
)
WANDER = Fork(
    "wander",
    0.5,
    right=("stop as soon as the fact is stated", "finish at once when the fact is in view"),
    wrong=("go through further hits to compare", "look at several more hits as well"),
    remedy=(("stop|finish|conclude", "soon|at once|stated|found|in view"),),
    lure=(("further|more|several|other", "hits|results"),),
)
DATED = Fork(
    "dated",
    0.55,
    right=("follow the link to the newer version", "go on to the version that replaced it"),
    wrong=("accept the old version as it stands", "settle for the archived version"),
    remedy=(("newer|newest|latest|current|replaced|up-to-date", "version|edition"),),
    lure=(("old|archived|outdated|superseded", "version|edition"),),
)
DETAIL = Fork(
    "detail",
    0.55,
    right=("follow the link to the table or report itself", "go on to the linked table or report"),
    wrong=("settle for the approximate value in the text", "take the rough value of the overview"),
    remedy=(("follow|go on|open|link", "tables?|reports?|documents?|pdf"),),
    lure=(("approximate|rough|preliminary|rounded", "value|figure|number"),),
)


def likely(fork: Fork, chance: float) -> Fork:
    """The fork with another chance to go wrong."""
    return replace(fork, chance=chance)
