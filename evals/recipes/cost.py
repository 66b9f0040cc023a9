"""What learning and answering take: the paper's $18, 38M + 6.6M tokens and 6 hours, and $0.02 per problem."""

from evals.paper.tables import AIME, Line, PaperTable

TABLE = PaperTable(
    name="cost",
    title="What learning and answering take",
    columns=AIME,
    kind="cost",
    lines=(
        Line(published={"AIME24": 80.0, "AIME25": 67.9}),
        Line(optimizer="tfgrpo", published={"AIME24": 82.7, "AIME25": 73.3}),
    ),
)
