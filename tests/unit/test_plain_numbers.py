"""Numbers of other libraries become Python's own, and equal settings have one fingerprint."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from made_maps import made
from uncertainty.choosing.cut import Rule
from uncertainty.options import Options, RunSettings
from uncertainty.plain_numbers import real, whole
from uncertainty.settings import compared
from uncertainty.storage.fingerprints import fingerprint, image_digests
from uncertainty.window import Window

NUMBERS = [3, 3.0, np.int64(3), np.uint64(3), np.float32(3), np.array(3), np.array([3.0]), torch.tensor(3), torch.tensor([3.0])]


@pytest.mark.parametrize("value", NUMBERS, ids=repr)
def test_numbers_of_any_library(value: Any) -> None:
    assert type(whole("steps", value)) is int and whole("steps", value) == 3
    assert type(real("cfg", value)) is float and real("cfg", value) == 3.0


@pytest.mark.parametrize("value", ["3", None, 3.5, float("nan"), torch.tensor([3, 4]), np.zeros(0)], ids=repr)
def test_what_is_no_whole_number(value: Any) -> None:
    with pytest.raises(ValueError, match="steps must be a whole number, got"):
        whole("steps", value)


@pytest.mark.parametrize("value", ["3", None, [3.0], torch.tensor([3, 4])], ids=repr)
def test_what_is_no_number(value: Any) -> None:
    with pytest.raises(ValueError, match="cfg must be a number, got"):
        real("cfg", value)


def test_settings_of_runs_and_rules_are_plain() -> None:
    one = np.float32(1)
    settings = RunSettings(np.int64(5), one, torch.tensor(95), Window(np.float64(0.5), one), np.int64(-1), Options(max_batch=one))
    assert settings == RunSettings(5, 1.0, 95.0, Window(0.5, 1.0), 2**64 - 1, Options(max_batch=1))
    json.dumps([settings.samples, settings.strength, settings.percentile, settings.seed, settings.window.end])
    assert Rule(keep=np.int64(2), threshold=one) == Rule(keep=2, threshold=1.0)


def test_equal_settings_have_one_fingerprint() -> None:
    given = made(images=2)
    ints = {"cfg": 3, "steps": 4, "denoise": 1, "guider_options": {"cfg1": 3, "nested": True}, "sigmas": [2, 1, 0]}
    floats = {
        "cfg": 3.0,
        "steps": 4.0,
        "denoise": 1.0,
        "guider_options": {"cfg1": 3.0, "nested": True},
        "sigmas": [2.0, 1.0, 0.0],
    }
    one, other = (replace(given, settings={**given.settings, **settings, "strength": 1}) for settings in (ints, floats))
    assert fingerprint(one) == fingerprint(other)
    assert image_digests(one) == image_digests(replace(other, settings={**other.settings, "strength": 1.0}))
    assert fingerprint(one) != fingerprint(replace(one, settings={**one.settings, "cfg": 3.5}))


def test_one_form_keeps_what_samplers_store() -> None:
    """Fingerprints of earlier files stay: these are the forms that the samplers' own inputs have."""
    stored = {"cfg": 8.0, "steps": 20, "denoise": 1.0, "window": [0.9, 0.98], "sampler": "euler", "total_steps": 20, "samples": 5}
    assert json.dumps(compared(stored)) == json.dumps(stored)


@pytest.mark.parametrize("huge", [10**400, -(10**400), float("inf"), 1e300])
def test_numbers_beyond_all_settings_are_left_as_they_are(huge: float) -> None:
    for name in ("cfg", "steps", "of another pack"):
        assert compared({name: huge}) == {name: huge}
