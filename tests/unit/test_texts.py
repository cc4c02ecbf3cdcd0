"""The views' texts: everything that they say has its translation in every table of ``web/texts/``, and nothing else is there."""

import json
import re
from pathlib import Path

import pytest

from dev.bootstrap import ROOT
from uncertainty.baselines import BASELINES
from uncertainty.quantities import QUANTITIES

WEB = ROOT / "web"
TABLES = {file.stem: file for file in sorted((WEB / "texts").iterdir())}
SCRIPTS = sorted(path for path in WEB.rglob("*.js") if "vendor" not in path.parts)
# The texts that the server declares come in variables. The second defines the functions.
EXEMPT = {WEB / "shared" / "quantities.js", WEB / "shared" / "texts.js"}

STRING = r'"(?:[^"\\]|\\.)*"'
ONE = re.compile(rf"(?<![\w.#])t\(\s*({STRING})")
MANY = re.compile(rf'(?<![\w.#])tn\(\s*[^"]+?,\s*{STRING},\s*({STRING})')
CALL = re.compile(r"(?<![\w.#])tn?\(")
ORDINAL = "{number}th"
PLACEHOLDER = re.compile(r"\{\w+\}")
TECHNICAL = re.compile(r"\b[a-z]+(?:_[a-z]+)+\b|[✓✕]|\bU\b|-1\b", re.ASCII)
CATEGORIES = {"zero", "one", "two", "few", "many", "other"}

# Words that some of the languages share with English.
SAME = {
    *("Heatmap", "Zoom", "Filters", "Images", "Score", "Verdict", "image {image}", "Image {image}", "score {score}"),
    *("Image {image}, score {score}", "score {score}, {rank}", "{count} images", "seed {seed}, image {image}"),
    *("MC-Dropout", "BayesDiff", "CFG-Rejection"),  # methods
}  # fmt: skip


def literals(pattern: re.Pattern[str], file: Path) -> set[str]:
    """The English texts that a script passes to one of the two functions."""
    return {json.loads(text) for text in pattern.findall(file.read_text())}


SINGLE = set().union(*(literals(ONE, file) for file in SCRIPTS))
PLURAL = set().union(*(literals(MANY, file) for file in SCRIPTS)) | {ORDINAL}
DECLARED = {text for score in (*QUANTITIES.values(), *BASELINES.values()) for text in (score.label, score.meaning)}


def forms(translation: str | dict[str, str]) -> dict[str, str]:
    """The forms of a translation, by plural category."""
    return {"other": translation} if isinstance(translation, str) else translation


@pytest.fixture(params=TABLES)
def table(request: pytest.FixtureRequest) -> dict[str, str | dict[str, str]]:
    """The table of each language."""
    found: dict[str, str | dict[str, str]] = json.loads(TABLES[request.param].read_text())
    return found


def test_every_table_can_be_chosen() -> None:
    listed = re.search(r"LANGUAGES = \{\n(.*?)\n\};", (WEB / "shared" / "texts.js").read_text(), flags=re.DOTALL)
    assert listed
    assert set(re.findall(r'^  "?([\w-]+)"?: "', listed[1], flags=re.MULTILINE)) == {"en", *TABLES}


@pytest.mark.parametrize("file", SCRIPTS, ids=lambda path: str(path.relative_to(WEB)))
def test_scripts_name_their_texts_in_full(file: Path) -> None:
    """Otherwise no test could find what has no translation."""
    if file not in EXEMPT:
        text = file.read_text()
        assert len(CALL.findall(text)) == len(ONE.findall(text)) + len(MANY.findall(text))


def test_everything_is_translated_and_nothing_is_left_over(table: dict[str, str | dict[str, str]]) -> None:
    assert len(SINGLE) > 200
    known = SINGLE | PLURAL | DECLARED
    assert sorted(known - table.keys()) == [], "without a translation"
    assert sorted(table.keys() - known) == [], "said by no view"


def test_placeholders_signs_and_names_are_kept(table: dict[str, str | dict[str, str]]) -> None:
    for english, translation in table.items():
        for form in forms(translation).values():
            assert form == form.strip() != "", english
            assert sorted(PLACEHOLDER.findall(form)) == sorted(PLACEHOLDER.findall(english)), english
            assert set(TECHNICAL.findall(english)) <= set(TECHNICAL.findall(form)), english


def test_only_numbers_need_several_forms(table: dict[str, str | dict[str, str]]) -> None:
    for english, translation in table.items():
        assert "other" in forms(translation) and forms(translation).keys() <= CATEGORIES, english
        assert isinstance(translation, str) or english in PLURAL, english


def test_nothing_stays_english(table: dict[str, str | dict[str, str]]) -> None:
    assert {english for english, translation in table.items() if english in forms(translation).values()} <= SAME


@pytest.mark.parametrize("language", sorted(set(TABLES) & {folder.name for folder in (ROOT / "locales").iterdir()}))
def test_nodes_are_called_by_their_names(language: str) -> None:
    interface = json.loads((ROOT / "tests" / "server" / "object_info.json").read_text())
    translated = json.loads((ROOT / "locales" / language / "nodeDefs.json").read_text())
    table = json.loads(TABLES[language].read_text())
    for node, described in interface.items():
        for english in table:
            if described["display_name"] in english:
                assert translated[node]["display_name"] in table[english], (english, node)
