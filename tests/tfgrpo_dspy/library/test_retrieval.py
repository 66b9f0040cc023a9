"""Choosing what a query reads."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tfgrpo_dspy.scripted import examples
from tfgrpo_dspy import ExperienceLibrary, MissingExtraError, Settings, SettingsError
from tfgrpo_dspy.library.experience import Experience, Provenance, Source
from tfgrpo_dspy.library.retrieval import (
    BM25,
    CUES,
    Embedding,
    Shelf,
    cues_of,
    described,
    read_bm25,
    restored,
    state_of,
)
from tfgrpo_dspy.library.section import render_lines
from tfgrpo_dspy.text import estimate_tokens

pytest.importorskip("bm25s")

LIBRARY = ExperienceLibrary.from_texts(
    [
        "When two discounts follow each other, multiply the shares.",
        "When trains meet, add their speeds.",
        "When a garden is fenced, count the posts.",
        "When interest compounds, work year by year.",
    ]
)


def ids(found):
    return [e.id for e in found]


def test_a_query_reads_what_shares_its_rare_words_whatever_their_endings():
    assert ids(Shelf(LIBRARY, BM25(1)).select("A coat is discounted twice. What is the price?")) == ["G0"]
    assert ids(Shelf(LIBRARY, BM25(1)).select("A train leaves at 9 with a speed of 80.")) == ["G1"]


def test_what_shares_no_word_is_not_read():
    assert Shelf(LIBRARY, BM25(4)).select("How many angels?") == ()
    assert Shelf(ExperienceLibrary(), BM25(4)).select("anything") == ()


def test_with_a_bound_on_tokens_the_rest_is_read_as_far_as_it_fits_what_most_groups_speak_for_first():
    speaking = tuple(
        replace(e, provenance=Provenance(sources=tuple(Source(f"e{j}") for j in range(place))))
        for place, e in enumerate(LIBRARY)
    )
    library = replace(LIBRARY, experiences=speaking)
    sizes = {e.id: estimate_tokens(render_lines([e])) for e in library}
    asked = "A coat is discounted twice."
    assert ids(Shelf(library, BM25(tokens=sizes["G0"])).select(asked)) == ["G0"]
    assert ids(Shelf(library, BM25(tokens=sizes["G0"] + sizes["G3"])).select(asked)) == ["G0", "G3"]
    assert ids(Shelf(library, BM25(tokens=sum(sizes.values()))).select("How many angels?")) == ["G0", "G1", "G2", "G3"]
    assert ids(Shelf(library.pin("G2"), BM25(tokens=1)).select(asked)) == ["G2"], "pinned ones do not count"


@given(st.integers(1, 120))
def test_what_is_read_within_tokens_takes_no_more(tokens):
    read = Shelf(LIBRARY, BM25(tokens=tokens)).select("fence the garden; trains meet")
    assert sum(estimate_tokens(render_lines([e])) for e in read) <= tokens


def test_pinned_experiences_come_first_and_the_others_in_library_order():
    shelf = Shelf(LIBRARY.pin("G3"), BM25(2))
    assert ids(shelf.select("fence the garden; trains meet")) == ["G3", "G1", "G2"]
    assert ids(shelf.select("nothing of it")) == ["G3"]


def test_several_queries_read_what_any_of_them_does():
    assert ids(Shelf(LIBRARY, BM25(1)).select("two trains", "a garden")) == ["G1", "G2"]


def test_an_experience_is_found_by_a_task_that_it_was_learned_from_too():
    cues = {"G2": ("A path is lined with lamps at both sides.", "Lamps again.", "More lamps.")}
    assert ids(Shelf(LIBRARY, BM25(1), cues).select("How many lamps line the road?")) == ["G2"]
    cues["G1"] = ("Lamps of a station.",)
    assert ids(Shelf(LIBRARY, BM25(2), cues).select("How many lamps?")) == ["G1", "G2"], "k experiences, not k texts"


@pytest.mark.parametrize(
    "retrieval", [BM25(1), Embedding(lambda texts: [[1.0 + ("sale" in t), 1.0] for t in texts], 1)]
)
def test_what_is_worth_less_has_to_fit_a_query_better(retrieval):
    library = ExperienceLibrary.from_texts(
        ["When a sale is on, add the shares.", "In a sale, multiply the shares twice."]
    )
    query = "a sale of shares"
    first = ids(Shelf(library, retrieval).select(query))
    assert ids(Shelf(library, retrieval, worth={"G0": 0.1}).select(query)) == ["G1"]
    assert ids(Shelf(library, retrieval, worth={"G1": 0.1}).select(query)) == ["G0"]
    assert ids(Shelf(library, retrieval, worth={"G0": 0.1, "G1": 0.1}).select(query)) == first
    assert Shelf(library, retrieval, worth={"G0": 0.0, "G1": 0.0}).select(query) == (), (
        "what is worth nothing is not read"
    )


def test_k_experiences_are_read_however_many_of_the_likest_are_worth_little():
    library = ExperienceLibrary.from_texts([*["red hats"] * 6, "a red coat", "a red shoe"])
    worth = {f"G{i}": 0.001 for i in range(6)}
    assert ids(Shelf(library, BM25(2), worth=worth).select("red hats")) == ["G6", "G7"]


def test_within_tokens_what_is_worth_less_comes_last():
    sizes = sum(estimate_tokens(render_lines([e])) for e in LIBRARY) - estimate_tokens(render_lines([LIBRARY["G1"]]))
    assert "G1" not in ids(Shelf(LIBRARY, BM25(tokens=sizes), worth={"G1": 0.2}).select("How many angels?"))


def test_cues_are_tasks_of_this_run_the_latest_first():
    sources = tuple(Source(f"e{i}") for i in range(9))
    old, new = (Experience("G0", "When a, b.", provenance=Provenance(sources=s)) for s in (sources[:1], sources))
    tasks = {f"e{i}": f"task {i}" for i in range(8)}
    known = ExperienceLibrary((old,), 1)
    found = cues_of(ExperienceLibrary((new,), 1), tasks, known)
    assert found == {"G0": tuple(f"task {i}" for i in range(7, 7 - CUES, -1))}
    assert cues_of(known, tasks, known) == {}, "e0 names an example of an earlier run"


def embedded(texts):
    return [[text.count("a") + 0.1, text.count("e"), text.count("o")] for text in texts]


def test_an_embedding_reads_what_is_nearest_and_embeds_each_text_once():
    asked = []

    def model(texts):
        asked.extend(texts)
        return embedded(texts)

    retrieval = Embedding(model, 1)
    library = ExperienceLibrary.from_texts(["aaa", "eee", "ooo"])
    assert ids(Shelf(library, retrieval).select("e e")) == ["G1"]
    assert ids(Shelf(library.pin("G0"), retrieval).select("oo")) == ["G0", "G2"]
    assert sorted(asked) == ["aaa", "e e", "eee", "oo", "ooo"]


def test_a_function_may_choose():
    shelf = Shelf(LIBRARY.pin("G0"), lambda query, library: [e.id for e in library if query in e.text])
    assert ids(shelf.select("speeds")) == ["G0", "G1"]
    with pytest.raises(SettingsError, match="'G9', which is no id"):
        Shelf(LIBRARY, lambda query, library: ["G9"]).select("x")


def test_a_way_of_retrieving_is_saved_unless_it_is_code():
    for retrieval in (BM25(3), Embedding("openai/text-embedding-3-small", 4)):
        assert restored(state_of(retrieval), None) == retrieval
    own = Embedding(embedded, 2)
    assert restored(state_of(own), Embedding(embedded, 7)) == own
    assert restored(state_of(ids), ids) is ids
    for unknown in (state_of(own), state_of(ids), {}):
        with pytest.raises(SettingsError, match="give it again"):
            restored(unknown, None)


@pytest.mark.parametrize("retrieval", [BM25, 8, "bm25"])
def test_what_cannot_retrieve_is_refused(retrieval):
    with pytest.raises(SettingsError, match=r"`?retrieval`? must be `?BM25\(k\)"):
        Settings(retrieval=retrieval)
    with pytest.raises(SettingsError, match="k, the experiences per query"):
        BM25(0)


def test_records_name_the_way_of_retrieving():
    assert Settings(retrieval=BM25(3)).as_params()["retrieval"] == "kind=bm25 k=3"
    assert described(examples) == "kind=own name=tests.tfgrpo_dspy.scripted.examples"
    assert described(None) is None


def test_without_its_package_bm25_is_refused_before_anything_is_paid_and_names_the_extra(monkeypatch):
    monkeypatch.setattr("tfgrpo_dspy.library.word_index.find_spec", lambda name: None)
    for use in (lambda: Settings(retrieval=BM25()), lambda: Shelf(LIBRARY, BM25()).select("a coat")):
        with pytest.raises(MissingExtraError, match=r"pip install 'tfgrpo-dspy\[retrieval\]'"):
            use()
    Settings(retrieval=Embedding(embedded))


@pytest.mark.parametrize("retrieval", [BM25(3), BM25(tokens=600), Embedding("m", tokens=600), Embedding("m", 4)])
def test_a_bound_on_tokens_is_saved_and_told_like_k(retrieval):
    assert restored(state_of(retrieval), None) == retrieval
    assert ("tokens=600" in described(retrieval)) == (retrieval.tokens is not None)


@pytest.mark.parametrize(("text", "made"), [("8", BM25(8)), ("600 tokens", BM25(tokens=600))])
def test_a_command_line_gives_a_count_or_a_number_of_tokens(text, made):
    assert read_bm25(text) == made


@pytest.mark.parametrize("tokens", [0, -1, 2.5, True])
def test_a_bound_on_tokens_is_a_whole_number(tokens):
    with pytest.raises(SettingsError, match="tokens"):
        BM25(tokens=tokens)
