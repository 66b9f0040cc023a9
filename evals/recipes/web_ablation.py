"""Web search on 51 questions: Training-Free GRPO minus one thing, and a weaker model."""

from evals.paper.tables import WEB, Column, Line, PaperTable

TABLE = PaperTable(
    name="web-ablation",
    title="Ablations on WebWalkerQA",
    columns=(Column("Pass@1", WEB, "webwalkerqa"), Column("Pass@3", WEB, "webwalkerqa", passing=3)),
    questions=51,
    lines=(
        Line(published={}),
        Line(optimizer="tfgrpo-direct", published={"Pass@1": 64.7}),
        Line(optimizer="tfgrpo-no-ground-truth", published={"Pass@1": 66.7, "Pass@3": 78.4}),
        Line(optimizer="tfgrpo", published={"Pass@1": 68.6, "Pass@3": 78.4}),
        Line(model="qwq-32b", published={"Pass@1": 27.5}),
        Line(model="qwq-32b", optimizer="tfgrpo", published={"Pass@1": 25.5}),
    ),
    notes=(
        "The paper's 51 questions are not named; ours are drawn by our own seed.",
        "The published baseline on these 51 questions is not in our record.",
    ),
)
