"""Names and tooltips in every language against the node interface; ``--update-golden`` writes the English ones anew."""

import json
import re
from typing import Any

import pytest

from dev.bootstrap import ROOT

LOCALES = ROOT / "locales"
GOLDEN = ROOT / "tests" / "server" / "object_info.json"
TRANSLATIONS = ("de", "ja", "zh")

# What means something in a message of vue-i18n. No way of writing it is right everywhere: newer front-ends show some messages
# as they are, others only after compiling them.
SYNTAX = re.compile(r"[@{}|]")
NUMBER = re.compile(r"\d+(?:\.\d+)?")
IDENTIFIER = re.compile(r"\b[a-z]+(?:_[a-z]+)+\b")
PLACEHOLDER = re.compile(r"%[^%]+%")  # of a file name
LATIN = re.compile(r"(?<![A-Za-z0-9_])[A-Za-z][A-Za-z0-9_.]{2,}")
CHINESE_OR_JAPANESE = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]")
ENGLISH = re.compile(r"\b(?:the|of|and|with|for|is|are|from|this|that|it|by|to|or|be|where|how)\b", re.IGNORECASE)

# Names that stay, whatever the language.
SAME = {"cfg", "Seed", "Sampler", "Scheduler", "Guider", "Sigmas", "Heatmap", "Checkpoint", "Name", "Latent", "Gradient"}
PROPER = {
    *("ComfyUI", "KSampler", "Latent", "Checkpoint", "Classifier", "Free", "Guidance", "CFG", "CPU", "SD1.5", "SD3", "Flux"),
    *(
        "BayesDiff",
        "bayesdiff",
        "DDPM",
        "ADM",
        "U-ViT",
        "ViT",
        "ImageNet",
        "OpenAI",
        "Stable",
        "Diffusion",
        "AUSE",
        "AURG",
        "VAE",
    ),
    *("input", "output", "uncertainty", "diffusers", "config.json", "models", "diffusion_models"),  # folders, files, a library
    "Uncertainty",  # the sidebar's tab
}


def load(language: str, name: str) -> dict[str, Any]:
    """One file of a language."""
    found: dict[str, Any] = json.loads((LOCALES / language / f"{name}.json").read_text())
    return found


def in_english(node: dict[str, Any]) -> dict[str, Any]:
    """What the front-end can show of a node in other words, in the words of its schema.

    An output that is called like its type has no name here: the front-end then shows that of the type.
    """
    inputs, outputs = {}, {}
    for kind in ("required", "optional"):
        for name in node["input_order"].get(kind, ()):
            inputs[name] = {"name": name, "tooltip": node["input"][kind][name][1]["tooltip"]}
    for index, (kind, name, tooltip) in enumerate(zip(node["output"], node["output_name"], node["output_tooltips"], strict=True)):
        if texts := ({"name": name} if name != kind else {}) | ({"tooltip": tooltip} if tooltip else {}):
            outputs[str(index)] = texts
    described = {"display_name": node["display_name"], "description": node["description"]}
    return described | ({"inputs": inputs} if inputs else {}) | ({"outputs": outputs} if outputs else {})


def flat(texts: dict[str, Any], path: tuple[str, ...] = ()) -> dict[tuple[str, ...], str]:
    """Texts by their path of keys."""
    found = {}
    for key, value in texts.items():
        found |= flat(value, (*path, key)) if isinstance(value, dict) else {(*path, key): value}
    return found


def choices(node: dict[str, Any]) -> set[str]:
    """Values of a node's combo inputs: they are shown as they are, so a tooltip must call them by name."""
    found = set()
    for kind in ("required", "optional"):
        for spec in node["input"].get(kind, {}).values():
            found |= set(spec[1].get("options", ())) if spec[0] == "COMBO" else set()
    return found


@pytest.fixture(scope="module")
def nodes() -> dict[str, Any]:
    """The node interface."""
    found: dict[str, Any] = json.loads(GOLDEN.read_text())
    return found


@pytest.fixture(scope="module")
def english(nodes: dict[str, Any]) -> dict[tuple[str, ...], str]:
    """The English texts by their path of keys."""
    return flat({name: in_english(node) for name, node in nodes.items()})


def test_english_is_the_schema_word_for_word(nodes: dict[str, Any], pytestconfig: pytest.Config) -> None:
    expected = {name: in_english(node) for name, node in nodes.items()}
    if pytestconfig.getoption("--update-golden"):
        text = json.dumps(expected, indent=2, ensure_ascii=False)
        (LOCALES / "en" / "nodeDefs.json").write_text(f"{text}\n")
    assert load("en", "nodeDefs") == expected


def test_category_and_type_are_named_in_english_too(nodes: dict[str, Any]) -> None:
    outputs = [pair for node in nodes.values() for pair in zip(node["output"], node["output_name"], strict=True)]
    ours = {kind for kind, name in outputs if kind == name and kind.startswith("UNCERTAINTY")}
    categories = {node["category"].rpartition("/")[2] for node in nodes.values()}
    assert load("en", "main") == {
        "nodeCategories": {name: name for name in categories},
        "dataTypes": {name: name for name in ours},
    }


def test_every_language_is_there() -> None:
    assert {folder.name for folder in LOCALES.iterdir()} == {"en", *TRANSLATIONS}
    for folder in LOCALES.iterdir():
        assert {file.name for file in folder.iterdir()} == {"main.json", "nodeDefs.json"}, folder.name


@pytest.mark.parametrize("language", TRANSLATIONS)
def test_translation_has_just_the_texts_of_the_schema(language: str, english: dict[tuple[str, ...], str]) -> None:
    expected = english | flat(load("en", "main"))
    translated = flat(load(language, "nodeDefs")) | flat(load(language, "main"))
    assert translated.keys() == expected.keys()
    for path, text in translated.items():
        assert text == text.strip() != "", path


@pytest.mark.parametrize("language", ["en", *TRANSLATIONS])
def test_nothing_has_a_meaning_to_the_translator(language: str) -> None:
    for name in ("nodeDefs", "main"):
        assert [path for path, text in flat(load(language, name)).items() if SYNTAX.search(text)] == []


@pytest.mark.parametrize("language", TRANSLATIONS)
def test_numbers_and_identifiers_are_kept(language: str, nodes: dict[str, Any], english: dict[tuple[str, ...], str]) -> None:
    translated = flat(load(language, "nodeDefs"))
    for path, text in english.items():
        if path[-1] == "name":
            continue
        explained = [value for value in choices(nodes[path[0]]) if f"{value}:" in text]
        for word in (*NUMBER.findall(text), *PLACEHOLDER.findall(text), *IDENTIFIER.findall(text), *explained):
            assert word in translated[path], (path, word)


@pytest.mark.parametrize("language", TRANSLATIONS)
def test_nothing_is_left_in_english(language: str, nodes: dict[str, Any], english: dict[tuple[str, ...], str]) -> None:
    assert not flat(load(language, "main")).items() & flat(load("en", "main")).items()
    for path, text in flat(load(language, "nodeDefs")).items():
        if path[-1] == "name" and text in SAME:
            continue
        assert text != english[path], path
        if language == "de":
            assert ENGLISH.findall(text) == [], path
        else:
            assert CHINESE_OR_JAPANESE.search(text), path
            kept = PROPER | choices(nodes[path[0]]) | set(IDENTIFIER.findall(english[path]))
            assert [word for word in LATIN.findall(PLACEHOLDER.sub("", text)) if word not in kept] == [], path


def test_used_words_are_those_of_the_node_itself() -> None:
    """A tooltip that names another node names it as that node is called in this language."""
    named = {"UncertaintyMapLoad": "UncertaintyMapSave", "UncertaintyThresholdsSave": "UncertaintyCalibrate"}
    for language in TRANSLATIONS:
        texts = load(language, "nodeDefs")
        for node, other in named.items():
            assert texts[other]["display_name"] in json.dumps(texts[node], ensure_ascii=False), (language, node)
