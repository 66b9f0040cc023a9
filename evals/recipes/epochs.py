"""Sweep: epochs, and whether more than the paper's three over-fit."""

from evals.paper.tables import AIME, Line, PaperTable

TABLE = PaperTable(
    name="epochs",
    title="Sweep of the epochs",
    columns=AIME,
    lines=(
        Line(published={"AIME24": 80.0, "AIME25": 67.9}),
        Line(optimizer="tfgrpo[epochs=1]", says="1 epoch", published={}),
        Line(optimizer="tfgrpo", says="3 epochs", published={"AIME24": 82.7, "AIME25": 73.3}),
        Line(optimizer="tfgrpo[epochs=5]", says="5 epochs", published={}),
        Line(optimizer="tfgrpo[epochs=8]", says="8 epochs", published={}),
    ),
    notes=("The paper reports 3 epochs; its reviewers asked for more, and whether they over-fit.",),
)
