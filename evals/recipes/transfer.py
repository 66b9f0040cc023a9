"""Libraries swapped across domains: every domain with every library, the harmful cells included."""

from evals.paper.tables import AIME, MATH, WEB, WEBWALKER, Line, PaperTable

TABLE = PaperTable(
    name="transfer",
    title="Libraries swapped across domains",
    columns=(*AIME, WEBWALKER),
    lines=(
        Line(published={"AIME24": 80.0, "AIME25": 67.9, "WebWalkerQA": 63.2}),
        Line(
            optimizer="tfgrpo",
            learned_on=MATH,
            says="library of mathematics",
            published={"AIME24": 82.7, "AIME25": 73.3},
        ),
        Line(optimizer="tfgrpo", learned_on=WEB, says="library of web search", published={"WebWalkerQA": 67.8}),
        Line(model="retool", published={"AIME24": 67.0, "AIME25": 49.3, "WebWalkerQA": 18.3}),
        Line(model="mirothinker", published={"AIME24": 43.5, "AIME25": 36.8, "WebWalkerQA": 53.6}),
        Line(model="afm", published={"AIME24": 66.7, "AIME25": 59.8}),
    ),
    notes=(
        "The paper carries RL-trained models to the other domain, and no library: for those cells it has no figure.",
    ),
)
