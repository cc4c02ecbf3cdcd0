"""UncertaintyMapSave and UncertaintyMapLoad: maps as files."""

from comfy_api.latest import io

from ...uncertainty.maps import UncertaintyMap
from ...uncertainty.storage import tensor_files
from .. import folders, node_inputs


class UncertaintyMapSave(io.ComfyNode):
    """Writes a map."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """A map and where it goes."""
        return io.Schema(
            node_id="UncertaintyMapSave",
            display_name="Save Uncertainty Map",
            category=node_inputs.CATEGORY,
            description="Saves a map with everything that was measured, to look at or filter by later.",
            is_output_node=True,
            inputs=[
                node_inputs.Uncertainty.Input("uncertainty", tooltip="From an uncertainty sampler."),
                folders.prefix_input("uncertainty/map"),
            ],
            outputs=[],
        )

    @classmethod
    def validate_inputs(cls, filename_prefix: str | None = None) -> bool | str:
        """Refuse what cannot work before anything runs."""
        return node_inputs.check_inputs(cls, checks=[(folders.check_prefix, filename_prefix)])

    @classmethod
    def execute(cls, uncertainty: UncertaintyMap, filename_prefix: str) -> io.NodeOutput:
        """Write it under the next number."""
        node_inputs.check_types(uncertainty=uncertainty)
        path, shown = folders.numbered(filename_prefix)
        tensor_files.save_map(path, uncertainty)
        return io.NodeOutput(ui=shown)


class UncertaintyMapLoad(io.ComfyNode):
    """Reads a map."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """One of the saved maps."""
        return io.Schema(
            node_id="UncertaintyMapLoad",
            display_name="Load Uncertainty Map",
            category=node_inputs.CATEGORY,
            description="Loads a map that Save Uncertainty Map wrote.",
            inputs=[folders.file_input(tensor_files.MAP)],
            outputs=[node_inputs.Uncertainty.Output("uncertainty", display_name="UNCERTAINTY")],
        )

    @classmethod
    def validate_inputs(cls, file: str | None = None) -> bool | str:
        """Refuse what cannot work before anything runs."""
        return node_inputs.check_inputs(cls, checks=[(folders.located, file)])

    @classmethod
    def fingerprint_inputs(cls, file: str) -> int:
        """Load again what was written anew."""
        return folders.changed(file)

    @classmethod
    def execute(cls, file: str) -> io.NodeOutput:
        """Read it."""
        return io.NodeOutput(tensor_files.load_map(folders.located(file)))
