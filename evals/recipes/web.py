"""Web search on WebWalkerQA, beside RL-trained models."""

from evals.paper.tables import WEBWALKER, Line, PaperTable

TABLE = PaperTable(
    name="web",
    title="Web search on WebWalkerQA",
    columns=(WEBWALKER,),
    lines=(
        Line(published={"WebWalkerQA": 63.2}),
        Line(optimizer="tfgrpo", published={"WebWalkerQA": 67.8}),
        Line(model="mirothinker", published={"WebWalkerQA": 53.6}),
        Line(model="retool", published={"WebWalkerQA": 18.3}),
    ),
    notes=("The published score is Pass@1; ours is its estimate from several rollouts, their mean.",),
)
