"""Sweep: epochs, and whether more than the paper's three over-fit."""

from evals.paper.tables import AIME, Line, PaperTable

TABLE = PaperTable(
    name="epochs",
    title="Sweep of the epochs",
    columns=AIME,
    lines=(
        Line(published={"AIME24": 80.0, "AIME25": 67.9}),
        Line(optimizer="tfgrpo[epochs=8]", after_step=1, says="1 epoch", published={}),
        Line(
            optimizer="tfgrpo[epochs=8]",
            after_step=3,
            says="3 epochs",
            published={"AIME24": 82.7, "AIME25": 73.3},
        ),
        Line(optimizer="tfgrpo[epochs=8]", after_step=5, says="5 epochs", published={}),
        Line(optimizer="tfgrpo[epochs=8]", says="8 epochs", published={}),
    ),
    notes=(
        "The paper reports 3 epochs; its reviewers asked for more, and whether they over-fit.",
        "All epochs are of one training, of one batch each: every row is tested with the library as it was after it.",
    ),
)
