"""UncertaintyCalibrate, UncertaintyThresholdsSave and UncertaintyThresholdsLoad: thresholds from the maps of many images."""

from typing import Any

from comfy_api.latest import io
from filelock import FileLock

from ...uncertainty.calibration import Calibration
from ...uncertainty.maps import UncertaintyMap
from ...uncertainty.plain_numbers import real
from ...uncertainty.storage import tensor_files
from ...uncertainty.thresholds import Thresholds
from .. import folders, node_inputs, versions
from ..numbered_files import NumberedFiles


class UncertaintyCalibrate(io.ComfyNode):
    """Adds a map to a calibration file that grows over many executions."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return versions.schema(
            node_id="UncertaintyCalibrate",
            display_name="Calibrate Uncertainty Thresholds",
            category=node_inputs.CATEGORY,
            search_aliases=["reference", "percentile", "statistics"],
            description=(
                "Computes thresholds from many images. Run it many times with new seeds and prompts: each run adds its images to "
                "a file and outputs the thresholds of all images so far. You can stop and resume at any time."
            ),
            is_output_node=True,
            inputs=[
                node_inputs.Uncertainty.Input(
                    "uncertainty", tooltip="The uncertainty map to add; best measured with strength 0."
                ),
                io.String.Input(
                    "name",
                    default="calibration",
                    tooltip=f"The file in output/{folders.FOLDER} to add the images to. Use a new name to start over.",
                ),
                node_inputs.percentile_input(
                    95.0, "The percentage of images at or below the threshold, at each step and element."
                ),
            ],
            outputs=[
                node_inputs.Thresholds.Output(
                    "thresholds", display_name="THRESHOLDS", tooltip="Connect to an uncertainty sampler or filter."
                ),
                io.Int.Output("images", display_name="images", tooltip="How many images have been added so far."),
                io.String.Output(
                    "report",
                    display_name="report",
                    tooltip="Tells how many images were added and how far to trust the thresholds.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, name: str | None = None) -> bool | str:
        return node_inputs.check_inputs(cls, checks=[(folders.running, name)])

    @classmethod
    def execute(cls, uncertainty: UncertaintyMap, name: str, percentile: float) -> io.NodeOutput:
        node_inputs.check_types(uncertainty=uncertainty)
        path, percentile = folders.running(name), real("percentile", percentile)
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock")):  # two ComfyUIs may add to one file
            before = tensor_files.load_calibration(path) if path.exists() else Calibration.like(uncertainty)
            calibration = before.add(uncertainty)
            if calibration.count > before.count:
                tensor_files.save_calibration(path, calibration)
        report = calibration.report(percentile, calibration.count - before.count)
        return io.NodeOutput(calibration.thresholds(percentile), calibration.count, report, ui={"text": [report]})


class UncertaintyThresholdsSave(io.ComfyNode):
    """Saves thresholds to a safetensors file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return versions.schema(
            node_id="UncertaintyThresholdsSave",
            display_name="Save Uncertainty Thresholds",
            category=node_inputs.CATEGORY,
            search_aliases=["export", "calibration"],
            description="Saves calibrated thresholds to a file, together with the settings they belong to.",
            is_output_node=True,
            inputs=[
                node_inputs.Thresholds.Input(
                    "thresholds", tooltip="The thresholds to save, from Calibrate Uncertainty Thresholds."
                ),
                folders.prefix_input("uncertainty/thresholds"),
            ],
            outputs=[],
        )

    @classmethod
    def validate_inputs(cls, filename_prefix: str | None = None) -> bool | str:
        return node_inputs.check_inputs(cls, checks=[(folders.check_prefix, filename_prefix)])

    @classmethod
    def execute(cls, thresholds: Thresholds, filename_prefix: str) -> io.NodeOutput:
        node_inputs.check_types(thresholds=thresholds)
        files = NumberedFiles(filename_prefix)
        shown = files.write(tensor_files.SUFFIX, lambda path: tensor_files.save_thresholds(path, thresholds, replace=False))
        return io.NodeOutput(ui={"files": [shown]})


class UncertaintyThresholdsLoad(io.ComfyNode):
    """Loads thresholds from a file that UncertaintyThresholdsSave wrote."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return versions.schema(
            node_id="UncertaintyThresholdsLoad",
            display_name="Load Uncertainty Thresholds",
            category=node_inputs.CATEGORY,
            search_aliases=["import", "calibration"],
            description="Loads calibrated thresholds. They work only with the settings they were calibrated with.",
            inputs=[folders.file_input(tensor_files.THRESHOLDS)],
            outputs=[
                node_inputs.Thresholds.Output(
                    "thresholds", display_name="THRESHOLDS", tooltip="Connect to an uncertainty sampler or filter."
                )
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
        return io.NodeOutput(tensor_files.load_thresholds(folders.located(file)))
