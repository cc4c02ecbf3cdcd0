"""Translations of nodes, settings and commands. A text without a translation is shown in English.

English is written once: in the schemas, of the settings in ``web/index.js``, of the commands in ``web/commands.js``. What the
views say has tables of its own, see ``test_texts.py``.

Nothing has to be translated together with a change of the English text: ``test_everything_is_translated`` lists what is left.
For that, ``tests/fixtures/translated.json`` holds digests of each translation and of the English text it was made from.
After translating, write it with ``pytest tests/unit/test_locales.py --update-golden``. If a translation still fits a changed
text, delete its line in the file first.
"""

import hashlib
import json
import re
from typing import Any

import pytest

from dev.bootstrap import ROOT

LOCALES = ROOT / "locales"
GOLDEN = ROOT / "tests" / "server" / "object_info.json"
TRANSLATED = ROOT / "tests" / "fixtures" / "translated.json"
FILES = ("main", "nodeDefs", "settings", "commands")
LANGUAGES = sorted(folder.name for folder in LOCALES.iterdir())

Path = tuple[str, ...]  # the keys that lead to a text

# These have a meaning in messages of vue-i18n. No way to write them works everywhere: newer front-ends show some messages as they
# are and others only after compiling them.
SYNTAX = re.compile(r"[@{}|]")
NUMBER = re.compile(r"\d+(?:\.\d+)?")
IDENTIFIER = re.compile(r"\b[a-z]+(?:_[a-z]+)+\b")
PLACEHOLDER = re.compile(r"%[^%]+%")  # in file names
LATIN = re.compile(r"(?<![A-Za-z0-9_])[A-Za-z][A-Za-z0-9_.]{2,}")
ENGLISH = re.compile(r"\b(?:the|of|and|with|for|is|are|from|this|that|it|by|to|or|be|where|how)\b", re.IGNORECASE)
HAN = re.compile(r"[\u4e00-\u9fff]")
OTHER_SCRIPT = {"ja": re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]"), "ko": re.compile(r"[\uac00-\ud7a3]"), "zh": HAN, "zh-TW": HAN}
# Encodings that lack the characters of the other one of simplified and traditional Chinese, and those that this does not catch:
# rare in Taiwan, or of another meaning there.
HAN_OF = {"zh": ("gb2312", ""), "zh-TW": ("big5", "体价准几听后于里云")}
# Quotation marks and apostrophes of other languages, spaces where this one has none, and none where it has one.
FOREIGN_SIGNS = {
    "de": re.compile(r"[\"'’”«»]"),
    "es": re.compile(r"[\"'’“”„]|« | »"),
    "fr": re.compile(r"[\"'“”„]|«\S|\S[:;?!»]"),
}

# Names that are the same in other languages.
SAME = {"cfg", "Seed", "Sampler", "Scheduler", "Guider", "Sigmas", "Heatmap", "Checkpoint", "Name", "Latent", "Gradient"}
SAME |= {"MC-Dropout", "CFG-Rejection"}  # methods
PROPER = {
    *("ComfyUI", "KSampler", "Latent", "Checkpoint", "Classifier", "Free", "Guidance", "CFG", "CPU", "SD1.5", "SD3", "Flux"),
    *(
        "PickScore",
        "HPS",
        "FLOAT",
        "BayesDiff",
        "ASCED",
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
    *("SamplerCustomAdvanced", "Sigma", "dropout"),  # in Taiwan
    *("CFGGuider", "CLIP", "Empty", "Image", "Load", "API"),
    *("input", "output", "uncertainty", "diffusers", "config.json", "models", "diffusion_models"),  # folders, files, a library
    "Uncertainty",  # the sidebar's tab
    "cfg",  # as KSampler calls it
    "drift",  # a quantity
}


def load(language: str, name: str) -> dict[str, Any]:
    """One file of a language."""
    texts: dict[str, Any] = json.loads((LOCALES / language / f"{name}.json").read_text())
    return texts


def in_english(node: dict[str, Any]) -> dict[str, Any]:
    """The texts of a node's schema in the layout of nodeDefs.json.

    An output that is named like its type has no name here: the front-end shows the name of the type.
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


def flat(texts: dict[str, Any], path: Path = ()) -> dict[Path, str]:
    """Texts by their path of keys."""
    by_path = {}
    for key, value in texts.items():
        by_path |= flat(value, (*path, key)) if isinstance(value, dict) else {(*path, key): value}
    return by_path


def choices(node: dict[str, Any] | None) -> set[str]:
    """Values of a node's combo inputs. The front-end shows them untranslated, so a tooltip must name them as they are."""
    values: set[str] = set()
    if node is None:  # a text of something else
        return values
    for kind in ("required", "optional"):
        for spec in node["input"].get(kind, {}).values():
            values |= set(spec[1].get("options", ())) if spec[0] == "COMBO" else set()
    return values


# As they are declared in web/index.js. A setting may have choices; the languages among them call themselves by their own names.
SETTING = re.compile(r'  id: "(.+)",\n  category: \[(.+)\],\n  name: "(.+)",\n  tooltip: "(.+)",\n((?:  .*\n)*)')
CHOICE = re.compile(r'text: "(.+?)"')
# As they are declared in web/commands.js.
COMMAND = re.compile(r'  \{ id: "(.+?)", label: "(.+?)"')


def settings() -> dict[str, Any]:
    """The texts of ComfyUI's dialog of settings in the layout of settings.json and main.json. Ids have no dots there."""
    declared = SETTING.findall((ROOT / "web" / "index.js").read_text())
    categories = {name for _, listed, *_ in declared for name in json.loads(f"[{listed}]")[:2]} - PROPER
    texts = {}
    for identity, _, name, tooltip, rest in declared:
        options = {text: text for text in CHOICE.findall(rest)}
        texts[identity.replace(".", "_")] = {"name": name, "tooltip": tooltip} | ({"options": options} if options else {})
    return texts | {"settingsCategories": {name: name for name in categories}}


def commands() -> dict[str, Any]:
    """The commands in the layout of commands.json."""
    declared = COMMAND.findall((ROOT / "web" / "commands.js").read_text())
    assert declared
    return {identity.replace(".", "_"): {"label": label} for identity, label in declared}


@pytest.fixture(scope="module")
def nodes() -> dict[str, Any]:
    """The node interface."""
    interface: dict[str, Any] = json.loads(GOLDEN.read_text())
    return interface


@pytest.fixture(scope="module")
def english(nodes: dict[str, Any]) -> dict[Path, str]:
    """Every text that can be translated."""
    outputs = [pair for node in nodes.values() for pair in zip(node["output"], node["output_name"], strict=True)]
    types = {kind for kind, name in outputs if kind == name and kind.startswith("UNCERTAINTY")}
    categories = {node["category"].rpartition("/")[2] for node in nodes.values()}
    texts = {name: in_english(node) for name, node in nodes.items()}
    texts |= {"nodeCategories": {name: name for name in categories}, "dataTypes": {name: name for name in types}}
    return flat(texts | settings() | commands())


def translation(language: str) -> dict[Path, str]:
    """Every text of a language."""
    return {path: text for name in FILES for path, text in flat(load(language, name)).items()}


def digest(text: str) -> str:
    """A few characters that tell texts apart."""
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def key(path: Path) -> str:
    """A path as one text."""
    return ".".join(path)


def current(language: str, english: dict[Path, str]) -> dict[Path, str]:
    """Translations of the English texts as they are now, without those of earlier texts."""
    known = json.loads(TRANSLATED.read_text())[language]
    return {
        path: text
        for path, text in translation(language).items()
        if known.get(key(path), "").partition(" ")[0] == digest(english[path])
    }


def test_english_is_written_in_the_code_alone() -> None:
    assert "en" not in LANGUAGES
    for language in LANGUAGES:
        assert {file.name for file in (LOCALES / language).iterdir()} == {f"{name}.json" for name in FILES}, language


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_translation_belongs_to_a_text(language: str, english: dict[Path, str]) -> None:
    texts = translation(language)
    assert texts.keys() <= english.keys()
    assert [path for path, text in texts.items() if text != text.strip() or not text or SYNTAX.search(text)] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_english_of_every_translation_is_recorded(
    language: str, english: dict[Path, str], pytestconfig: pytest.Config
) -> None:
    known = json.loads(TRANSLATED.read_text())
    # A recorded translation keeps its English text; a new or changed one was made from today's.
    before = {name: digests.split()[1] for name, digests in known.get(language, {}).items()}
    expected = {
        key(path): known[language][key(path)]
        if before.get(key(path)) == digest(text)
        else f"{digest(english[path])} {digest(text)}"
        for path, text in translation(language).items()
    }
    if pytestconfig.getoption("--update-golden"):
        known[language] = expected
        TRANSLATED.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
    assert known.get(language) == expected, "record the translations: pytest tests/unit/test_locales.py --update-golden"


@pytest.mark.parametrize("language", LANGUAGES)
def test_everything_is_translated(language: str, english: dict[Path, str]) -> None:
    """What is not translated is reported, not refused."""
    texts, up_to_date = translation(language), current(language, english)
    left = [f"{key(path)} ({'English text changed' if path in texts else 'new'})" for path in english if path not in up_to_date]
    if left:
        pytest.xfail(f"to be translated: {', '.join(left)}")


@pytest.mark.parametrize("language", LANGUAGES)
def test_numbers_and_identifiers_are_kept(language: str, nodes: dict[str, Any], english: dict[Path, str]) -> None:
    for path, text in current(language, english).items():
        if path[-1] not in ("tooltip", "description"):
            continue
        explained = [value for value in choices(nodes.get(path[0])) if f"{value}:" in english[path]]
        for word in (
            *NUMBER.findall(english[path]),
            *PLACEHOLDER.findall(english[path]),
            *IDENTIFIER.findall(english[path]),
            *explained,
        ):
            assert word in text, (path, word)


@pytest.mark.parametrize("language", LANGUAGES)
def test_nothing_is_left_in_english(language: str, nodes: dict[str, Any], english: dict[Path, str]) -> None:
    for path, text in current(language, english).items():
        if path[-1] == "name" and text in SAME:
            continue
        assert text != english[path], path
        if language in OTHER_SCRIPT:
            assert OTHER_SCRIPT[language].search(text), path
            values = choices(nodes.get(path[0]))
            kept = (
                PROPER | {word for value in values for word in (value, *value.split())} | set(IDENTIFIER.findall(english[path]))
            )
            assert [word for word in LATIN.findall(PLACEHOLDER.sub("", text)) if word not in kept] == [], path
        else:
            assert ENGLISH.findall(text) == [], path


@pytest.mark.parametrize("language", HAN_OF)
def test_simplified_and_traditional_chinese_are_not_mixed(language: str) -> None:
    """Neither in these texts nor in those of the views."""
    encoding, others = HAN_OF[language]
    files = [*(LOCALES / language).iterdir(), ROOT / "web" / "texts" / f"{language}.json"]
    written = set(HAN.findall("".join(file.read_text() for file in files)))
    assert {sign for sign in written if sign in others or not sign.encode(encoding, "ignore")} == set()


@pytest.mark.parametrize("language", FOREIGN_SIGNS)
def test_signs_are_those_of_the_language(language: str) -> None:
    foreign = FOREIGN_SIGNS[language]
    assert [path for path, text in translation(language).items() if foreign.search(PLACEHOLDER.sub("", text))] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_other_nodes_are_called_by_their_names(language: str, english: dict[Path, str]) -> None:
    """A text that names a node of this pack uses that node's name in the same language."""
    texts = current(language, english)
    names = {path: text for path, text in english.items() if path[-1] == "display_name" and path in texts}
    for path, text in texts.items():
        if path[-1] in ("tooltip", "description"):
            for name, called in names.items():
                if re.search(rf"(?<!\w){re.escape(called)}(?!\w)", english[path]):
                    assert texts[name] in text, (path, called)
