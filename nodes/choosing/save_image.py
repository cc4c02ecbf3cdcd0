"""UncertaintySaveImage: like SaveImage, but also writes the scores to the file and to the ledger."""

import functools
import json
from typing import Any

from comfy.cli_args import args
from comfy_api.latest import io
from torch import Tensor

from ...uncertainty.choosing.cut import best_first
from ...uncertainty.maps import UncertaintyMap
from ...uncertainty.scores import bad_end
from ...uncertainty.storage import png_entry
from ...uncertainty.storage.atomic import write_whole
from .. import folders, node_inputs, versions
from ..numbered_files import NumberedFiles
from . import kept_prompt, ledger_access


class UncertaintySaveImage(io.ComfyNode):
    """Replaces SaveImage."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """SaveImage's inputs and the map."""
        return versions.schema(
            node_id="UncertaintySaveImage",
            display_name="Save Image (Uncertainty)",
            category=node_inputs.CATEGORY,
            search_aliases=["export", "gallery", "library", "ledger"],
            essentials_category=node_inputs.ESSENTIALS,
            description=(
                "Saves images like Save Image, adds the scores and a small map to each file, and records the images in the "
                "ledger. The Uncertainty tab in the sidebar lists, sorts and filters them."
            ),
            is_output_node=True,
            hidden=[io.Hidden.prompt, io.Hidden.extra_pnginfo, io.Hidden.unique_id],
            inputs=[
                io.Image.Input("images", tooltip="The images to save."),
                io.String.Input(
                    "filename_prefix",
                    default="ComfyUI",
                    tooltip=(
                        "The prefix for the file to save. This may include formatting information such as %date:yyyy-MM-dd% or "
                        "%Empty Latent Image.width% to include values from nodes, and %score% and %rank%: the score of the image "
                        "and its place in the batch, 1 for the best."
                    ),
                ),
                node_inputs.Uncertainty.Input(
                    "uncertainty", tooltip="The uncertainty map of these images, from the sampler or the filter."
                ),
            ],
            outputs=[io.Image.Output("saved_images", display_name="images", tooltip="The images, passed on.")],
        )

    @classmethod
    def validate_inputs(cls, filename_prefix: str | None = None) -> bool | str:
        return node_inputs.check_inputs(cls, checks=[(folders.check_prefix, filename_prefix)])

    @classmethod
    def execute(cls, images: Tensor, filename_prefix: str, uncertainty: UncertaintyMap) -> io.NodeOutput:
        """Write the files, then record them in the ledger."""
        node_inputs.check_types(uncertainty=uncertainty)
        if len(images) != uncertainty.images:
            count = node_inputs.entries(len(images))
            raise ValueError(
                f"images has {count}, but the map has {uncertainty.images}: connect the images of this map. To save the "
                "frames of videos, use Save Video."
            )
        files = NumberedFiles(filename_prefix, images.shape[2], images.shape[1])
        shown = []
        for index, (image, placeholders) in enumerate(zip(images, _placeholders(uncertainty), strict=True)):
            content = png_entry.png(image, cls._about(uncertainty, index))
            shown.append(files.write(".png", functools.partial(write_whole, content=content, replace=False), placeholders))
        names = [f"{file['subfolder']}/{file['filename']}".lstrip("/") for file in shown]
        ledger_access.record(uncertainty, names, kept_prompt.text_of(cls.hidden.prompt, cls.hidden.unique_id))
        return io.NodeOutput(images, ui={"images": shown, "animated": (False,)})

    @classmethod
    def _about(cls, uncertainty: UncertaintyMap, index: int) -> dict[str, str]:
        """Text entries of the file: ComfyUI's and this pack's."""
        if args.disable_metadata:
            return {}
        hidden: dict[str, Any] = {"prompt": cls.hidden.prompt, **(cls.hidden.extra_pnginfo or {})}
        workflow = {name: json.dumps(value) for name, value in hidden.items() if value is not None}
        workflow.pop(png_entry.ENTRY, None)  # another pack's, under the name of this pack's entry
        return {png_entry.ENTRY: png_entry.entry(uncertainty, index), **workflow}


def _placeholders(uncertainty: UncertaintyMap) -> list[dict[str, object]]:
    """What the name of each image's file can say of it. Ranks have as many digits as the last, so that names sort by rank."""
    scores = uncertainty.score(uncertainty.default).value
    best = best_first(scores, bad_end(uncertainty.default))
    digits = len(str(len(best)))
    return [
        {"batch_num": index, "score": f"{score:.4g}", "rank": f"{best.index(index) + 1:0{digits}}"}
        for index, score in enumerate(scores.tolist())
    ]
