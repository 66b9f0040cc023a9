"""Mathematics: Training-Free GRPO minus one thing."""

from evals.paper.tables import AIME, Line, PaperTable

TABLE = PaperTable(
    name="ablation",
    title="Ablations on AIME",
    columns=AIME,
    lines=(
        Line(published={"AIME24": 80.0, "AIME25": 67.9}),
        Line(optimizer="tfgrpo-direct", published={"AIME24": 79.8}),
        Line(optimizer="tfgrpo-no-ground-truth", published={"AIME24": 80.7, "AIME25": 68.9}),
        Line(optimizer="tfgrpo-no-group", published={"AIME24": 80.4, "AIME25": 69.3}),
        Line(optimizer="tfgrpo", published={"AIME24": 82.7, "AIME25": 73.3}),
    ),
)
