"""Each setting is declared once, and all that speaks of it says the same; refusals are in test_teleprompter.py."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
from pathlib import Path
from typing import get_type_hints

import pytest

from tests import options_page
from tfgrpo_dspy import MajorityVote, Settings, SettingsError, TrainingFreeGRPO, evaluate, teleprompter
from tfgrpo_dspy.declaration import AUTHORS, GROUPS, OURS, PAPER, settings_of
from tfgrpo_dspy.library.library import ExperienceLibrary, Limits
from tfgrpo_dspy.records.planned import auto_text
from tfgrpo_dspy.run.setup import Setup
from tfgrpo_dspy.settings import WHOLES, DecidingSettings, EndpointSettings, LimitSettings

DECLARED = settings_of(Settings, Setup)


def keywords(function) -> dict[str, inspect.Parameter]:
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p for p in parameters if p.kind is p.KEYWORD_ONLY}


# --- one declaration, many readers ---


@pytest.mark.parametrize("name", DECLARED)
def test_a_declaration_says_all_there_is_to_say(name):
    one = DECLARED[name]
    assert one.sentence.endswith(".")
    assert one.source in {PAPER, AUTHORS, OURS}
    assert one.group in GROUPS
    assert one.expected
    one.check(one.default)


def test_every_field_of_the_settings_is_declared():
    assert {field.name for field in dataclasses.fields(Settings)} <= DECLARED.keys()
    assert {field.name for field in dataclasses.fields(Setup)} - DECLARED.keys() == {"metric", "spent"}


def test_the_constructor_takes_each_setting_by_name_in_the_order_of_the_groups():
    taken = keywords(TrainingFreeGRPO)
    assert taken.keys() == DECLARED.keys()
    order = [DECLARED[name].group for name in taken]
    assert list(dict.fromkeys(order)) == [group for group in GROUPS if group in order]
    assert order == sorted(order, key=list(GROUPS).index)


def test_the_constructors_keywords_stand_in_its_source_where_an_editor_sees_them():
    tree = ast.parse(Path(teleprompter.__file__).read_text(encoding="utf-8"))
    (init,) = (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == "__init__")
    assert [argument.arg for argument in init.args.kwonlyargs] == list(keywords(TrainingFreeGRPO))
    assert (init.args.vararg, init.args.kwarg) == (None, None)


@pytest.mark.parametrize("function", [TrainingFreeGRPO, evaluate])
def test_defaults_and_types_of_keywords_are_those_of_the_declarations(function):
    hints = get_type_hints(function.__init__ if inspect.isclass(function) else function)
    for name, keyword in keywords(function).items():
        if name in DECLARED and (function, name) != (evaluate, "seed"):  # which names other rollouts there
            one = DECLARED[name]
            assert keyword.default is one.default, name
            assert hints[name] == one.type or not one.is_plain, name


@pytest.mark.parametrize("function", [TrainingFreeGRPO, evaluate])
def test_the_documentation_says_of_each_keyword_what_its_declaration_says(function):
    told = " ".join(inspect.getdoc(function).split())
    for name in keywords(function):
        one = DECLARED.get(name)
        assert told.count(f" {name}: ") == 1, name
        if one is not None and not (function is evaluate and name in {"seed", "display_progress", "tracking"}):
            assert f"{name}: {one.sentence} ({one.expected}; default {one.default_text}, {one.source})" in told


def test_the_page_of_options_is_made_from_the_declarations():
    written = options_page.PAGE.read_text(encoding="utf-8")
    assert written == options_page.page(), "python -m tests.options_page writes it again"


# --- what decides the library ---


def test_what_decides_the_library_is_apart_from_what_does_not():
    decides = settings_of(DecidingSettings).keys()
    does_not = settings_of(LimitSettings).keys() | settings_of(EndpointSettings).keys()
    assert not decides & does_not
    assert decides | does_not | {"auto"} == settings_of(Settings).keys(), "which stands for settings that decide"
    assert {DECLARED[name].group for name in decides} == {"method", "safeguards"}
    assert {"epochs", "group_size", "seed", "trials", "patience"} <= decides
    assert {"num_threads", "budget", "hedge", "call_timeout", "max_errors"} <= does_not


def test_params_hold_every_setting_by_name_and_the_library_by_its_size():
    settings = Settings(library=ExperienceLibrary.from_texts(["When a, b."]))
    params = settings.as_params()
    assert params.keys() == settings_of(Settings).keys()
    assert params["library"] == 1
    assert settings.as_params(DecidingSettings).keys() == settings_of(DecidingSettings).keys()


# --- values ---


def test_settings_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().epochs = 4


def test_lists_become_tuples():
    assert Settings(conditioned=["a", "b"]).conditioned == ("a", "b")


def test_an_unknown_name_is_refused_with_the_one_that_may_be_meant():
    with pytest.raises(SettingsError, match=r"there is no setting 'epoch'; did you mean `epochs`\?"):
        TrainingFreeGRPO(lambda example, prediction, trace=None: 1, epoch=3)


def test_a_keyword_that_was_not_written_is_told_from_one_that_was():
    optimizer = TrainingFreeGRPO(lambda example, prediction, trace=None: 1, epochs=3, seed=4)
    assert optimizer.given == {"epochs": 3, "seed": 4}


def test_overrides_of_none_leave_a_setting_as_it_is_and_others_are_checked():
    settings = Settings(seed=4, num_threads=2)
    assert settings.overridden({"seed": None, "num_threads": 8}) == Settings(seed=4, num_threads=8)
    assert settings.overridden({"seed": 0}).seed == 0
    with pytest.raises(SettingsError, match="num_threads"):
        settings.overridden({"num_threads": 0})


def test_the_librarys_limits_are_the_settings():
    assert Settings(max_experiences=3, max_library_tokens=99, max_words=8).limits == Limits(3, None, None), (
        "tokens are bounded after an update, and no lesson is dropped for its length"
    )


def test_no_temperature_means_the_lms_own():
    assert Settings(temperature=None).temperature is None


@pytest.mark.parametrize("name", [name for name, one in DECLARED.items() if one.is_plain])
def test_a_value_of_another_kind_is_refused_by_name_and_the_message_says_what_the_setting_is(name):
    one = DECLARED[name]
    declaring = Settings if name in settings_of(Settings) else Setup
    more = {} if declaring is Settings else {"metric": lambda example, prediction, trace=None: 1}
    with pytest.raises(SettingsError) as raised:
        declaring(**{name: {"a": "dict"}}, **more)
    assert str(raised.value).startswith(f"`{name}` must be {one.expected}, got dict: ")
    assert (one.why or one.briefly) in str(raised.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"budget": 200}, r"`budget` must be a `Budget`, e\.g\. `Budget\(max_lm_calls=200\)`"),
        ({"hedge": 1.5}, "`hedge` must be a number >= 0 and <= 1, got 1.5"),
        ({"call_timeout": 0}, "`call_timeout` must be a number > 0 or `None`"),
        ({"trials": True, "group_size": 1}, "`trials` compares the rollouts of a group"),
        ({"retrieval": 3}, "`retrieval` must be"),
        ({"count_tokens": 3}, "`count_tokens` must be a function of a text"),
    ],
)
def test_ranges_and_what_excludes_each_other_are_checked(values, message):
    with pytest.raises(SettingsError, match=message):
        Settings(**values)


# --- wholes ---


def metric(example, prediction, trace=None):
    return 1.0


def test_every_value_of_auto_is_a_whole_of_settings_that_decide_and_medium_is_the_paper():
    assert WHOLES.keys() == set(DECLARED["auto"].choices)
    assert WHOLES["medium"] == {}
    for whole in WHOLES.values():
        assert whole.keys() <= settings_of(DecidingSettings).keys()
        assert all(value != getattr(Settings, name) for name, value in whole.items())


@pytest.mark.parametrize("auto", WHOLES)
def test_a_whole_sets_what_the_table_says_and_nothing_else(auto):
    made = TrainingFreeGRPO(metric, auto=auto).settings
    assert made == dataclasses.replace(Settings(), auto=auto, **WHOLES[auto])


def test_a_single_keyword_overrides_the_whole_also_with_the_default():
    assert TrainingFreeGRPO(metric, auto="light", epochs=3).settings.epochs == 3
    assert TrainingFreeGRPO(metric, auto="light", min_group_size=None).settings.min_group_size is None


@pytest.mark.parametrize(
    ("auto", "given", "came", "remedy"),
    [
        ("light", {"group_size": 2}, "`min_group_size=2` came with `auto='light'`", "`min_group_size=None`"),
        ("light", {"metric": MajorityVote()}, "`min_group_size=2` came with", "`min_group_size=None`"),
        ("heavy", {"group_size": 1}, "`trials=True` came with", "`trials=False`"),
    ],
)
def test_what_a_whole_brought_and_something_given_excludes_is_told_with_the_way_out(auto, given, came, remedy):
    with pytest.raises(SettingsError, match=re.escape(came)) as raised:
        TrainingFreeGRPO(**{"metric": metric, "auto": auto, **given})
    assert remedy in str(raised.value)


def test_a_run_with_a_whole_says_what_that_means_in_calls():
    def said(**given):
        return auto_text(TrainingFreeGRPO(metric, **given).settings, 48)

    assert said() == said(epochs=2) == ""
    light = said(auto="light")
    assert light.startswith("light (epochs=2, min_group_size=2): 192 to 480 rollouts")
    assert "at most 1,056 LM calls" in light
    assert "1,584 with the paper's settings" in light
    assert "light (min_group_size=2): 96 to 240 rollouts" in said(auto="light", epochs=1)
    assert "at most 1,776 LM calls and the updates if a rollout is one call, 1,584 with the paper" in said(auto="heavy")
