"""The test bed's prompts: halves by a fixed rule, combinations that no picture has, and the file that holds them."""

from collections import Counter
from pathlib import Path

import pytest
import torch

from testbed import prompts
from testbed.pictures import StyledPicture


def picture(name: str, style: str, *, held_out: bool = False, extra: tuple[str, ...] = ()) -> StyledPicture:
    return StyledPicture(name, tuple(name.split()), extra, True, held_out, torch.zeros(3, 2, 2), style)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> list[StyledPicture]:
    """Pictures of a few emoji, and few prompts."""
    monkeypatch.setattr(prompts, "CAPTIONS", 4)
    monkeypatch.setattr(prompts, "STYLED", range(2, 4))
    monkeypatch.setattr(prompts, "COMBINED", ("cat hat", "dog hat"))
    made = [picture(name, style) for name in ("cat", "dog", "hat", "cat dog") for style in ("noto", "blob")]
    return [*made, picture("dog cat", "noto", held_out=True), picture("unicorn", "noto", held_out=True)]


def test_every_kind_is_split_in_two(few: list[StyledPicture]) -> None:
    made = prompts.prompts(few)
    count = Counter((prompt.kind, prompt.half) for prompt in made)
    assert all(count[kind, half] == 1 for kind in ("plain", "styled", "combined") for half in prompts.HALVES)
    assert {prompt.text for prompt in made if prompt.kind == "combined"} == {"cat hat", "dog hat"}


def test_held_out_prompts_are_of_emoji_that_no_style_showed(few: list[StyledPicture]) -> None:
    # "unicorn" would be an empty prompt for a model that has never seen the word.
    assert [prompt.text for prompt in prompts.prompts(few) if prompt.kind == "held out"] == ["dog cat"]


def test_captions_of_the_same_words_are_right_together(few: list[StyledPicture]) -> None:
    (unseen,) = (prompt for prompt in prompts.prompts(few) if prompt.kind == "held out")
    assert unseen.names == ("cat dog", "dog cat")


def test_a_combination_that_a_picture_has_is_refused(few: list[StyledPicture]) -> None:
    with pytest.raises(ValueError, match="'cat hat' is no new combination: cat has all"):
        prompts.prompts([*few, picture("cat", "fluent", extra=("hat",))])


def test_a_combination_with_an_unknown_word_is_refused(few: list[StyledPicture], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompts, "COMBINED", ("cat unicorn",))
    with pytest.raises(ValueError, match="words that no caption of the model has: unicorn"):
        prompts.prompts(few)


def test_the_file_holds_what_is_written(few: list[StyledPicture], tmp_path: Path) -> None:
    made = prompts.prompts(few)
    path = tmp_path / "prompts.csv"
    path.write_text(prompts.as_csv(made), encoding="utf-8")
    assert [p for half in prompts.HALVES for p in prompts.read(half, path)] == sorted(made, key=lambda p: p.half)


def test_the_shipped_halves_follow_the_rule() -> None:
    halves = {half: prompts.read(half) for half in prompts.HALVES}
    both = [prompt for half in halves.values() for prompt in half]
    assert len({prompt.text for prompt in both}) == len(both) == 211
    for kind in prompts.KINDS:
        ordered = sorted((prompt for prompt in both if prompt.kind == kind), key=lambda prompt: prompts.digest(prompt.text))
        assert [prompt.half for prompt in ordered] == [prompts.HALVES[number % 2] for number in range(len(ordered))]
    for half in halves.values():
        assert 0.2 < sum(prompt.kind == "combined" for prompt in half) / len(half) < 0.25
    assert len({prompt.seed for prompt in both}) == len(both)


def test_an_unknown_half_is_refused() -> None:
    with pytest.raises(ValueError, match="half must be one of choosing, confirming, got 'all'"):
        prompts.read("all")
