"""How training scores, test scores and tool calls move step by step; a step is an epoch, as in the paper."""

from evals.paper.tables import AIME, Line, PaperTable

TABLE = PaperTable(
    name="dynamics",
    title="Learning dynamics",
    columns=AIME,
    shows_steps=True,
    lines=(
        Line(says="before step 1", published={"AIME24": 80.0, "AIME25": 67.9}),
        Line(optimizer="tfgrpo", after_step=1, says="after step 1", published={}),
        Line(optimizer="tfgrpo", after_step=2, says="after step 2", published={}),
        Line(optimizer="tfgrpo", says="after step 3", published={"AIME24": 82.7, "AIME25": 73.3}),
    ),
    notes=(
        "The paper draws the steps between as a curve, of which only the ends are published as figures: scores rise, "
        "tool calls per problem fall.",
        "All steps are of one training: each is tested with the library as it was after it.",
    ),
)
