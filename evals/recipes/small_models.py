"""Mathematics with smaller models."""

from evals.paper.tables import AIME, Line, PaperTable

TABLE = PaperTable(
    name="small-models",
    title="AIME with smaller models",
    columns=AIME,
    lines=(
        Line(model="qwen3-32b", published={"AIME24": 29.1, "AIME25": 13.5}),
        Line(model="qwen3-32b", optimizer="tfgrpo", published={"AIME24": 33.5, "AIME25": 14.9}),
        Line(model="qwen2.5-72b", published={"AIME24": 19.5, "AIME25": 9.6}),
        Line(model="qwen2.5-72b", optimizer="tfgrpo", published={"AIME24": 25.4, "AIME25": 11.4}),
    ),
    notes=(
        "Whether these published figures are of direct prompting or of ReAct is not in our record; ours are ReAct.",
    ),
)
