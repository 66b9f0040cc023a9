"""Settings are frozen and checked; the sentences of refusals are in test_teleprompter.py."""

from __future__ import annotations

import dataclasses
import inspect

import pytest

from tfgrpo_dspy import Settings, SettingsError, TrainingFreeGRPO
from tfgrpo_dspy.library.library import ExperienceLibrary, Limits


def test_the_constructors_defaults_are_those_of_the_settings():
    defaults = {p.name: p.default for p in inspect.signature(TrainingFreeGRPO.__init__).parameters.values()}
    for field in dataclasses.fields(Settings):
        if field.name in defaults and field.name != "library":
            assert defaults[field.name] == getattr(Settings(), field.name), field.name


def test_settings_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().epochs = 4


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(SettingsError, match="there is no setting 'epoch'; the settings are: epochs, batch_size"):
        Settings.checked(epoch=3)


def test_overrides_of_none_leave_a_setting_as_it_is_and_others_are_checked():
    settings = Settings(seed=4, num_threads=2)
    assert settings.overridden({"seed": None, "num_threads": 8}) == Settings(seed=4, num_threads=8)
    assert settings.overridden({"seed": 0}).seed == 0
    with pytest.raises(SettingsError, match="num_threads"):
        settings.overridden({"num_threads": 0})


def test_the_librarys_limits_are_the_settings():
    assert Settings(max_experiences=3, max_library_tokens=99, max_words=8).limits == Limits(3, None, 8), (
        "tokens are bounded after an update"
    )


def test_params_hold_every_setting_by_name_and_the_library_by_its_size():
    params = Settings(library=ExperienceLibrary.from_texts(["When a, b."])).as_params()
    assert set(params) == {field.name for field in dataclasses.fields(Settings)}
    assert params["library"] == 1


def test_no_temperature_means_the_lms_own():
    assert Settings(temperature=None).temperature is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"budget": 200}, "budget must be a Budget"),
        ({"hedge": 1.5}, "hedge is a share of the calls"),
        ({"call_timeout": 0}, "call_timeout must be a number of seconds > 0 or None"),
        ({"rollout_timeout": "1"}, "rollout_timeout must be a number of seconds > 0 or None"),
    ],
)
def test_what_bounds_the_calls_is_checked_as_well(values, message):
    with pytest.raises(SettingsError, match=message):
        Settings(**values)
