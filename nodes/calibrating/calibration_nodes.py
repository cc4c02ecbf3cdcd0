"""UncertaintyCalibrate, UncertaintyThresholdsSave and UncertaintyThresholdsLoad: what uncertainty is usual, from many images."""

from comfy_api.latest import io

from ...uncertainty.calibration import Calibration
from ...uncertainty.maps import UncertaintyMap
from ...uncertainty.storage import tensor_files
from ...uncertainty.thresholds import Thresholds
from .. import folders, node_inputs


class UncertaintyCalibrate(io.ComfyNode):
    """Adds a map to a calibration that runs over many executions."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """A map, which calibration it belongs to, and which percentile is wanted."""
        return io.Schema(
            node_id="UncertaintyCalibrate",
            display_name="Calibrate Uncertainty Thresholds",
            category=node_inputs.CATEGORY,
            description=(
                "Queue it many times with new seeds and prompts: each run adds its images to a file and gives the thresholds "
                "of all images so far. It can be stopped and resumed."
            ),
            is_output_node=True,
            inputs=[
                node_inputs.Uncertainty.Input("uncertainty", tooltip="From an uncertainty sampler; best with strength 0."),
                io.String.Input(
                    "name",
                    default="calibration",
                    tooltip=f"File below output/{folders.FOLDER} that the images are added to. Take a new name to start anew.",
                ),
                io.Float.Input(
                    "percentile",
                    default=95.0,
                    min=0.0,
                    max=100.0,
                    step=0.5,
                    round=0.01,
                    tooltip="At each step and element, this many per cent of the images lie at or below the threshold.",
                ),
            ],
            outputs=[
                node_inputs.Thresholds.Output(
                    "thresholds", display_name="THRESHOLDS", tooltip="For an uncertainty sampler or filter."
                ),
                io.Int.Output("images", display_name="images", tooltip="How many images were counted so far."),
                io.String.Output("report", display_name="report"),
            ],
        )

    @classmethod
    def validate_inputs(cls, name: str | None = None) -> bool | str:
        """Refuse what cannot work before anything runs."""
        return node_inputs.check_inputs(cls, checks=[(folders.running, name)])

    @classmethod
    def execute(cls, uncertainty: UncertaintyMap, name: str, percentile: float) -> io.NodeOutput:
        """Read the calibration, add the map, write it, and take the thresholds."""
        node_inputs.check_types(uncertainty=uncertainty)
        path = folders.running(name)
        before = tensor_files.load_calibration(path) if path.exists() else Calibration.like(uncertainty)
        calibration = before.add(uncertainty)
        if calibration.count > before.count:
            tensor_files.save_calibration(path, calibration)
        report = calibration.report(percentile, calibration.count - before.count)
        return io.NodeOutput(calibration.thresholds(percentile), calibration.count, report, ui={"text": [report]})


class UncertaintyThresholdsSave(io.ComfyNode):
    """Writes thresholds."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Thresholds and where they go."""
        return io.Schema(
            node_id="UncertaintyThresholdsSave",
            display_name="Save Uncertainty Thresholds",
            category=node_inputs.CATEGORY,
            description="Saves calibrated thresholds in one file, with the settings they belong to.",
            is_output_node=True,
            inputs=[
                node_inputs.Thresholds.Input("thresholds", tooltip="From Calibrate Uncertainty Thresholds."),
                folders.prefix_input("uncertainty/thresholds"),
            ],
            outputs=[],
        )

    @classmethod
    def validate_inputs(cls, filename_prefix: str | None = None) -> bool | str:
        """Refuse what cannot work before anything runs."""
        return node_inputs.check_inputs(cls, checks=[(folders.check_prefix, filename_prefix)])

    @classmethod
    def execute(cls, thresholds: Thresholds, filename_prefix: str) -> io.NodeOutput:
        """Write them under the next number."""
        node_inputs.check_types(thresholds=thresholds)
        path, shown = folders.numbered(filename_prefix)
        tensor_files.save_thresholds(path, thresholds)
        return io.NodeOutput(ui=shown)


class UncertaintyThresholdsLoad(io.ComfyNode):
    """Reads thresholds."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """One of the saved files."""
        return io.Schema(
            node_id="UncertaintyThresholdsLoad",
            display_name="Load Uncertainty Thresholds",
            category=node_inputs.CATEGORY,
            description="Loads calibrated thresholds. They work only with the settings they were calibrated with.",
            inputs=[folders.file_input(tensor_files.THRESHOLDS)],
            outputs=[node_inputs.Thresholds.Output("thresholds", display_name="THRESHOLDS")],
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
        """Read them."""
        return io.NodeOutput(tensor_files.load_thresholds(folders.located(file)))
