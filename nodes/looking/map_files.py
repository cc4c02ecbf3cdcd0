"""UncertaintyMapSave and UncertaintyMapLoad: save and load maps."""

from typing import Any

from comfy_api.latest import io

from ...uncertainty.maps import UncertaintyMap
from ...uncertainty.storage import tensor_files
from .. import folders, node_inputs, versions
from ..numbered_files import NumberedFiles


class UncertaintyMapSave(io.ComfyNode):
    """Saves a map to a safetensors file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return versions.schema(
            node_id="UncertaintyMapSave",
            display_name="Save Uncertainty Map",
            category=node_inputs.CATEGORY,
            search_aliases=["export", "heatmap"],
            description="Saves a map with everything that was measured, so that you can view it or filter by it later.",
            is_output_node=True,
            inputs=[
                node_inputs.Uncertainty.Input("uncertainty", tooltip="The uncertainty map to save."),
                folders.prefix_input("uncertainty/map"),
            ],
            outputs=[],
        )

    @classmethod
    def validate_inputs(cls, filename_prefix: str | None = None) -> bool | str:
        return node_inputs.check_inputs(cls, checks=[(folders.check_prefix, filename_prefix)])

    @classmethod
    def execute(cls, uncertainty: UncertaintyMap, filename_prefix: str) -> io.NodeOutput:
        node_inputs.check_types(uncertainty=uncertainty)
        files = NumberedFiles(filename_prefix)
        shown = files.write(tensor_files.SUFFIX, lambda path: tensor_files.save_map(path, uncertainty, replace=False))
        return io.NodeOutput(ui={"files": [shown]})


class UncertaintyMapLoad(io.ComfyNode):
    """Loads a map from a file that UncertaintyMapSave wrote."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return versions.schema(
            node_id="UncertaintyMapLoad",
            display_name="Load Uncertainty Map",
            category=node_inputs.CATEGORY,
            search_aliases=["import", "heatmap"],
            description="Loads a map that was saved by Save Uncertainty Map.",
            inputs=[folders.file_input(tensor_files.MAP)],
            outputs=[
                node_inputs.Uncertainty.Output("uncertainty", display_name="UNCERTAINTY", tooltip="The map as it was saved.")
            ],
        )

    @classmethod
    def validate_inputs(cls, file: str | None = None, input_types: dict[str, Any] | None = None) -> bool | str:
        return node_inputs.check_inputs(cls, checks=[(folders.located, file)], input_types=input_types)

    @classmethod
    def fingerprint_inputs(cls, file: str | None) -> int | None:
        return None if file is None else folders.changed(file)

    @classmethod
    def execute(cls, file: str) -> io.NodeOutput:
        return io.NodeOutput(tensor_files.load_map(folders.located(file)))
