"""Mathematics: Direct and ReAct, with and without a library, beside RL-trained models."""

from evals.paper.tables import AIME, Line, PaperTable

TABLE = PaperTable(
    name="aime",
    title="AIME, direct and with a code interpreter",
    columns=AIME,
    lines=(
        Line(program="direct", published={}),
        Line(program="direct", optimizer="tfgrpo", published={}),
        Line(published={"AIME24": 80.0, "AIME25": 67.9}),
        Line(optimizer="tfgrpo", published={"AIME24": 82.7, "AIME25": 73.3}),
        Line(model="retool", published={"AIME24": 67.0, "AIME25": 49.3}),
        Line(model="afm", published={"AIME24": 66.7, "AIME25": 59.8}),
        Line(model="mirothinker", published={"AIME24": 43.5, "AIME25": 36.8}),
    ),
    notes=("The published figures of direct prompting are not in our record, so none are shown.",),
)
