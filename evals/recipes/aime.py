"""Mathematics: Direct and ReAct, with and without a library, beside RL-trained models."""

from evals.paper.tables import AIME, Line, PaperTable

TABLE = PaperTable(
    name="aime",
    title="AIME, direct and with a code interpreter",
    columns=AIME,
    lines=(
        Line(program="direct", published={}),
        Line(program="direct", optimizer="tfgrpo", published={"AIME24": 72.6}),
        Line(published={"AIME24": 80.0, "AIME25": 67.9}),
        Line(optimizer="tfgrpo", published={"AIME24": 82.7, "AIME25": 73.3}),
        Line(model="retool", published={"AIME24": 67.0, "AIME25": 49.3}),
        Line(model="afm", published={"AIME24": 66.7, "AIME25": 59.8}),
        Line(model="mirothinker", published={"AIME24": 43.5, "AIME25": 36.8}),
    ),
    notes=(
        "Of direct prompting one published figure is in our record, AIME24 with a library, as quoted in issue 197 of "
        "the authors' repository (youtu-agent).",
        "The authors' later release (one epoch, batches of 50, deepseek-chat) reports 71.6 and, with a library, 74.6 "
        "on AIME24 in issue 164 of it; another model, so it stands in no row.",
    ),
)
