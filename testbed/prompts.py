"""The prompts of the test bed, and which half of them is for choosing scores and which for confirming the choice.

``python -m testbed.prompts`` writes ``prompts.csv`` from the pictures. There are four kinds:

- ``plain``: the caption of a known emoji; up to four drawings are right.
- ``styled``: the same with the word of a style, which is sometimes one that the model never saw of this emoji.
- ``combined``: words that no picture has together.
- ``held out``: the caption of an emoji that the model saw in no style, where it knows all words.

The digest of its text decides a prompt's half: in the order of the digests, the prompts of a kind go to choosing and confirming
in turn. Nothing of the confirming half may be drawn before ``docs/evidence/protocol.md`` is complete.
"""

import csv
import hashlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from demo.data import Picture
from uncertainty.storage.atomic import write_whole

PATH = Path(__file__).with_name("prompts.csv")
WORK = Path(__file__).parent / ".train"
HALVES = ("choosing", "confirming")
KINDS = ("plain", "styled", "combined", "held out")
# What models are asked for, if not all. Two know no words of styles, and drew 99 % of the combined prompts wrong (choosing half).
KINDS_OF = dict.fromkeys(("demo", "latent"), ("plain",))
# In the order of the captions' digests, those from the first number to before the second are styled, the others plain.
STYLED = range(44, 76)
CAPTIONS = 160
COMBINED = (
    "cat face sunglasses", "cat face halo", "cat face cowboy hat", "cat face medical mask",
    "dog face heart shaped eyes", "dog face tears joy", "dog face zipper mouth", "dog face party hat",
    "panda face tears joy", "panda face sunglasses", "panda face crying", "panda face star eyes",
    "bear face monocle", "bear face cowboy hat", "bear face thermometer", "fox face sunglasses",
    "fox face winking", "tiger face crying", "tiger face money mouth", "lion face party hat",
    "lion face head bandage", "frog face heart shaped eyes", "frog face crying", "mouse face halo",
    "monkey face sunglasses", "pig face crying", "unicorn face halo", "cow face monocle",
    "horse face cowboy hat", "koala medical mask", "robot face heart shaped eyes", "robot face sunglasses",
    "clown face crying", "skull heart shaped eyes", "ghost sunglasses", "alien crying",
    "blue heart ribbon", "green heart arrow", "purple broken heart", "black heart fire",
    "white dog", "green cat", "chocolate ice cream", "strawberry pie",
)  # fmt: skip


@dataclass(frozen=True)
class Prompt:
    """A prompt.

    Attributes:
        half: one of ``HALVES``.
        kind: ``plain``, ``styled``, ``combined`` or ``held out``.
        text: what the model is asked for.
        names: the emoji that are right; none for combined prompts.
        style: the style asked for, or "".
        words: the words that must be visible, without the style's.
    """

    half: str
    kind: str
    text: str
    names: tuple[str, ...]
    style: str
    words: tuple[str, ...]

    @property
    def seed(self) -> int:
        """The seed of the prompt's images: it depends on half and text only, so that all settings draw from the same noise."""
        return int(digest(f"{self.half} {self.text}")[:8], 16)


def digest(text: str) -> str:
    """A fixed digest of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def prompts(pictures: Sequence[Picture]) -> list[Prompt]:
    """All prompts, in the order of the file.

    Raises:
        ValueError: a combined prompt has a word of no known caption, or an emoji has all of its words.
    """
    shown = [picture for picture in pictures if not picture.held_out]
    known = {word for picture in shown for word in (*picture.words, *picture.extra_words)}
    captions = {" ".join(picture.words): picture.words for picture in pictures}
    trained = {" ".join(picture.words) for picture in shown}
    named = {caption: tuple(dict.fromkeys(p.name for p in pictures if set(p.words) == set(w))) for caption, w in captions.items()}
    visible = {word for words in captions.values() for word in words} & known
    unseen = [caption for caption in captions if caption not in trained and set(captions[caption]) <= known]
    ordered = sorted(trained, key=digest)[:CAPTIONS]
    plain = [text for place, text in enumerate(ordered) if place not in STYLED]
    styled = [text for place, text in enumerate(ordered) if place in STYLED]
    made = {
        "plain": [(text, named[text], "", captions[text]) for text in plain],
        "styled": [_in_style(text, named[text], captions[text], pictures) for text in styled],
        "combined": [(text, (), "", _new(text, pictures, visible)) for text in COMBINED],
        "held out": [(text, named[text], "", captions[text]) for text in unseen],
    }
    return [
        Prompt(HALVES[number % 2], kind, *parts)
        for kind, rows in made.items()
        for number, parts in enumerate(sorted(rows, key=lambda parts: digest(parts[0])))
    ]


def _in_style(
    text: str, names: tuple[str, ...], words: tuple[str, ...], pictures: Sequence[Picture]
) -> tuple[str, tuple[str, ...], str, tuple[str, ...]]:
    """A caption with one of the styles that draw its emoji, by its digest."""
    drawn = sorted({getattr(picture, "style", "") for picture in pictures if picture.name in names})
    style = drawn[int(digest(text)[:8], 16) % len(drawn)]
    return f"{text} {style}", names, style, words


def _new(text: str, pictures: Sequence[Picture], visible: set[str]) -> tuple[str, ...]:
    words = tuple(text.split())
    unknown = [word for word in words if word not in visible]
    if unknown:
        raise ValueError(f"the combined prompt {text!r} has words that no caption of the model has: {', '.join(unknown)}.")
    for picture in pictures:
        if set(words) <= {*picture.words, *picture.extra_words}:
            raise ValueError(f"the combined prompt {text!r} is no new combination: {picture.name} has all of its words.")
    return words


def read(half: str, path: Path = PATH) -> list[Prompt]:
    """The prompts of one half.

    Raises:
        ValueError: half is not one of ``HALVES``.
    """
    if half not in HALVES:
        raise ValueError(f"half must be one of {', '.join(HALVES)}, got {half!r}.")
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [
        Prompt(**row | {"names": tuple(filter(None, row["names"].split("|"))), "words": tuple(row["words"].split())})
        for row in rows
        if row["half"] == half
    ]


def is_asked(prompt: Prompt, model: str) -> bool:
    """Whether a model is asked for a prompt."""
    return prompt.kind in KINDS_OF.get(model, KINDS)


def asked(half: str, model: str) -> list[Prompt]:
    """The prompts of one half that a model is asked for. Raises as ``read``."""
    return [prompt for prompt in read(half) if is_asked(prompt, model)]


def as_csv(made: Iterable[Prompt]) -> str:
    """The content of the file."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([field.name for field in fields(Prompt)])
    for prompt in made:
        half, kind, prompt_text, names, style, words = astuple(prompt)
        writer.writerow([half, kind, prompt_text, "|".join(names), style, " ".join(words)])
    return text.getvalue()


def main() -> None:
    """Write the file."""
    from . import pictures

    made = prompts(pictures.load(WORK))
    write_whole(PATH, as_csv(made).encode())
    print(f"{len(made)} prompts: {PATH.name}")


if __name__ == "__main__":
    main()
