"""Reports: complete, escaped, in need of nothing else."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest

from evals.reports.figures import draw_all, to_svg
from evals.reports.written import write_reports
from evals.scoring.study import Study
from tests.evals.scoring.test_table import CHANCES, rewards, row_of, tabulate, won
from tests.evals.small import made_result

VOID = {"meta", "br", "img", "link"}


@pytest.fixture(scope="module")
def study() -> Study:
    rows = [row_of(name, seed) for name in CHANCES for seed in (0, 1)]
    results = [made_result(row, rewards(CHANCES[row.optimizer], at)) for at, row in enumerate(rows)]
    return Study(tuple(rows), tuple(results), won(tabulate(rows, results, "none"), 0.8))


@pytest.fixture(scope="module")
def written(study, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    write_reports(study, folder)
    return folder


class Nesting(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.loads += [value for name, value in attrs if name in {"src", "href", "xlink:href"} and value]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_well_formed_and_loads_nothing(written):
    page = (written / "report.html").read_text()
    parser = Nesting()
    parser.feed(page)
    assert parser.open == []
    assert all(target.startswith("#") for target in parser.loads)
    assert not re.search(r"url\((?!#|\"?#)", page)
    assert "@import" not in page


def test_text_of_a_model_is_shown_and_never_acted_on(written):
    page, markdown = (written / "report.html").read_text(), (written / "report.md").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;alert" in page
    assert "\\<script" in markdown
    assert "\\|" in markdown


def test_both_say_that_it_is_simulated_and_give_every_score_its_interval_and_n(written):
    for name in ("report.html", "report.md"):
        text = (written / name).read_text()
        assert "Simulated LM" in text
        assert f"n = {12} questions" in text
        for told in (
            "tfgrpo did best",
            "Pass@2",
            "p (Holm)",
            "Mean@2 [95%]".replace("[", "\\[" if "md" in name else "["),
        ):
            assert told in text
        assert re.search(r"0\.\d{3}.{0,30}\[0\.\d{3}, 0\.\d{3}\]", text)


def test_the_verdict_comes_first(written):
    text = (written / "report.md").read_text()
    assert text.index("did best") < text.index("## Scores") < text.index("## What was learned")


def test_figures_are_drawn_for_what_there_is_and_labelled_simulated(study, written):
    figures = draw_all(study.table)
    assert set(figures) == {"gains", "curves", "cost"}
    for name, figure in figures.items():
        assert (written / "figures" / f"{name}.png").stat().st_size > 5000
        assert "(simulated LM)" in figure.get_suptitle()


def test_a_figure_on_the_page_takes_the_colours_of_the_page(written):
    page = (written / "report.html").read_text()
    body = page.partition("</style>")[2]
    assert "var(--good)" in body
    drawn = set(re.findall(r"(?:fill|stroke): (#[0-9a-f]{6})", body))
    assert drawn <= {"#ffffff"}, "a colour that does not change with light and dark"


def test_the_same_figure_gives_the_same_svg(study):
    one, other = (to_svg(draw_all(study.table)["gains"], "gains") for _ in range(2))
    assert one == other


def test_the_table_is_there_for_machines(written):
    table = json.loads((written / "table.json").read_text())
    assert table["simulated"] is True
    assert [line["optimizer"] for line in table["lines"]] == list(CHANCES)
    assert table["winner"]["label"] == "tfgrpo"


def test_a_comparison_without_gains_has_a_report_too(tmp_path):
    row = row_of("none", 0)
    result = made_result(row, rewards(0.5, 0))
    write_reports(Study((row,), (result,), tabulate([row], [result], "none")), tmp_path)
    assert "Nothing was compared" in (tmp_path / "report.md").read_text()


def test_what_failed_is_in_the_report(tmp_path):
    rows = [row_of(name, 0) for name in ("none", "tfgrpo")]
    results = [made_result(rows[0], rewards(0.5, 0)), made_result(rows[1], [], error="RuntimeError: <b>it broke</b>")]
    write_reports(Study(tuple(rows), tuple(results), tabulate(rows, results, "none")), tmp_path)
    assert "RuntimeError: &lt;b&gt;it broke" in (tmp_path / "report.html").read_text()
