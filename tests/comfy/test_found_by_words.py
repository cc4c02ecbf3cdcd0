"""Words that an artist types into ComfyUI's search find the nodes. Versions without aliases load the nodes all the same."""

from collections.abc import Callable
from dataclasses import dataclass, make_dataclass
from types import ModuleType
from typing import Any

import pytest

FILTER, SAMPLER, PREVIEW = "UncertaintyScoreFilter", "UncertaintyKSampler", "UncertaintyMapPreview"
TYPED = {
    "best of": FILTER, "cull": FILTER, "rank": FILTER, "pick": FILTER, "filter images": FILTER, "quality": SAMPLER,
    "heatmap": PREVIEW, "bad images": FILTER, "uncertainty": PREVIEW, "inpaint": "UncertaintyToMask",
    "pickscore": "UncertaintyExtraScore", "gallery": "UncertaintySaveImage", "audio": "UncertaintyPart",
}  # fmt: skip


@pytest.fixture
def schemas(pack: Callable[[str], ModuleType]) -> Callable[[], dict[str, Any]]:
    """Schemas of all nodes, by their ids."""

    def described() -> dict[str, Any]:
        nodes = vars(pack("nodes")).values()
        found = [node.define_schema() for node in nodes if isinstance(node, type) and hasattr(node, "define_schema")]
        return {schema.node_id: schema for schema in found if schema.node_id.startswith("Uncertainty")}

    return described


@pytest.fixture
def newer(pack: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> None:
    """A ComfyUI whose schemas have every field that the pack uses."""
    versions = pack("nodes.versions")
    has = {field for field in versions.NEWER if field in versions.io.Schema.__dataclass_fields__}
    more = [(name, Any, None) for name in versions.NEWER if name not in has]
    monkeypatch.setattr(versions.io, "Schema", dataclass(make_dataclass("Schema", more, bases=(versions.io.Schema,))))


@pytest.mark.usefixtures("newer")
@pytest.mark.parametrize("typed", TYPED)
def test_typed_words_find_the_node(schemas: Callable[[], dict[str, Any]], typed: str) -> None:
    found = [
        name
        for name, schema in schemas().items()
        if any(typed in text.lower() for text in (schema.display_name, *schema.search_aliases))
    ]
    assert TYPED[typed] in found


@pytest.mark.usefixtures("newer")
def test_every_node_has_aliases_that_its_name_does_not_hold(schemas: Callable[[], dict[str, Any]]) -> None:
    for name, schema in schemas().items():
        assert schema.search_aliases, name
        assert [word for word in schema.search_aliases if word in schema.display_name.lower()] == [], name
    assert {name for name, schema in schemas().items() if schema.essentials_category} == {
        FILTER, SAMPLER, PREVIEW, "UncertaintySaveImage",
    }  # fmt: skip


def test_a_version_without_these_fields_takes_the_nodes(
    pack: Callable[[str], ModuleType], schemas: Callable[[], dict[str, Any]]
) -> None:
    """The version in use: what it does not know is left out, and a misspelt field is not."""
    assert len(schemas()) > len(TYPED)
    with pytest.raises(TypeError, match="search_alias"):
        pack("nodes.versions").schema(node_id="x", search_alias=["y"])


def test_every_input_and_output_has_a_tooltip(schemas: Callable[[], dict[str, Any]]) -> None:
    for name, schema in schemas().items():
        assert [part.id for part in (*schema.inputs, *schema.outputs) if not part.tooltip] == [], name


def test_few_inputs_are_in_sight(schemas: Callable[[], dict[str, Any]]) -> None:
    """Of the samplers, beside the inputs of the samplers they replace; sockets are always shown."""
    described = schemas()
    for name in (SAMPLER, "UncertaintySamplerCustom"):
        own = described[name].inputs[-7:]
        assert own[0].id == "samples"
        assert [field.id for field in own if not field.extra_dict.get("advanced")] == [
            "samples",
            "strength",
            "thresholds",
            "options",
        ]
