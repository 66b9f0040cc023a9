"""Sweep: how many rollouts a group has."""

from evals.paper.tables import AIME, Line, PaperTable

TABLE = PaperTable(
    name="group-size",
    title="Sweep of the group size",
    columns=AIME,
    lines=(
        Line(published={"AIME24": 80.0, "AIME25": 67.9}),
        Line(optimizer="tfgrpo-no-group", says="G = 1", published={"AIME24": 80.4, "AIME25": 69.3}),
        Line(optimizer="tfgrpo-group-size-3", says="G = 3", published={}),
        Line(optimizer="tfgrpo", says="G = 5", published={"AIME24": 82.7, "AIME25": 73.3}),
        Line(optimizer="tfgrpo-group-size-8", says="G = 8", published={}),
    ),
    notes=("The paper reports G = 1 and G = 5; its reviewers asked for the others.",),
)
