"""UncertaintySaveImage: like SaveImage, but also writes the scores to the file and to the ledger."""

import functools
import json
import re
from typing import Any

from comfy.cli_args import args
from comfy_api.latest import io
from torch import Tensor

from ...uncertainty.choosing.cut import best_first
from ...uncertainty.maps import UncertaintyMap
from ...uncertainty.scores import bad_end
from ...uncertainty.settings import possible
from ...uncertainty.storage import picture_entry, rating
from ...uncertainty.storage.atomic import write_whole
from ...uncertainty.storage.picture_files import FORMATS, NOTES, SUFFIXES
from .. import folders, node_inputs, versions
from ..numbered_files import NumberedFiles
from . import kept_prompt, ledger_access

PLACEHOLDERS = ("score", "rank", "verdict")
PLACEHOLDER = re.compile("%[^%]*%")  # what it stands for may be empty


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
                        "%Empty Latent Image.width% to include values from nodes, and %score%, %rank% and %verdict%: the score "
                        "of the image, its place in the batch, 1 for the best, and whether the filter kept or rejected it."
                    ),
                ),
                node_inputs.Uncertainty.Input(
                    "uncertainty", tooltip="The uncertainty map of these images, from the sampler or the filter."
                ),
                io.Combo.Input(
                    "format",
                    options=list(FORMATS),
                    default=FORMATS[0],
                    optional=True,
                    tooltip=(
                        "The kind of file. png and webp keep every pixel, and ComfyUI opens the workflow in them; webp files are "
                        "smaller but take longer to save. jpeg files are the smallest, lose a little, and ComfyUI opens no "
                        "workflow from them."
                    ),
                ),
            ],
            outputs=[io.Image.Output("saved_images", display_name="images", tooltip="The images, passed on.")],
        )

    @classmethod
    def validate_inputs(
        cls,
        filename_prefix: str | None = None,
        format: str | None = None,  # noqa: A002 as ComfyUI's SaveVideo names it
        input_types: dict[str, Any] | None = None,
    ) -> bool | str:
        checks = [(_check_prefix, filename_prefix)]
        return node_inputs.check_inputs(cls, checks=checks, input_types=input_types, format=format)

    @classmethod
    def execute(
        cls,
        images: Tensor,
        filename_prefix: str,
        uncertainty: UncertaintyMap,
        format: str = FORMATS[0],  # noqa: A002
    ) -> io.NodeOutput:
        """Write the files, then record them in the ledger."""
        node_inputs.check_types(uncertainty=uncertainty)
        node_inputs.check_choices(cls, format=format)
        _check_prefix(filename_prefix)
        if len(images) != uncertainty.images:
            count = node_inputs.entries(len(images))
            raise ValueError(
                f"images has {count}, but the map has {uncertainty.images}: connect the images of this map. To save the "
                "frames of videos, use Save Video."
            )
        files = NumberedFiles(filename_prefix, images.shape[2], images.shape[1])
        shown = []
        for index, (image, placeholders) in enumerate(zip(images, _placeholders(uncertainty), strict=True)):
            content = rating.rated(picture_entry.content(image, cls._about(uncertainty, index), format), uncertainty.stars[index])
            write = functools.partial(write_whole, content=content, replace=False)
            shown.append(files.write(SUFFIXES[format], write, placeholders))
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
        workflow.pop(picture_entry.ENTRY, None)  # another pack's, under the name of this pack's entry
        return {picture_entry.ENTRY: picture_entry.entry(uncertainty, index), **workflow}


def _check_prefix(filename_prefix: str) -> None:
    """Raise ValueError for a prefix under which nothing can be saved, that hides files, or that names a folder after an image.

    Folders are made before, and ``rejected`` has its own use.
    """
    folder, _, name = folders.check_prefix(filename_prefix).rpartition("/")
    if wrong := [f"%{name}%" for name in PLACEHOLDERS if f"%{name}%" in folder]:
        raise ValueError(
            f"filename_prefix must not name a folder {wrong[0]}, got {filename_prefix!r}: use {wrong[0]} after the last slash."
        )
    if PLACEHOLDER.sub("", f"{name}_").startswith(NOTES):
        raise ValueError(
            f"filename_prefix must not make names of files that begin with {NOTES}, as macOS names its notes, which are left out "
            f"where pictures are listed, got {filename_prefix!r}: put a letter first."
        )


def _placeholders(uncertainty: UncertaintyMap) -> list[dict[str, object]]:
    """What the name of each image's file can say of it. Ranks have as many digits as the last, so that names sort by rank."""
    scores = uncertainty.score(uncertainty.default).value
    best = best_first(scores, bad_end(uncertainty.default))
    digits = len(str(len(best)))
    verdict = {True: "rejected", False: "kept", None: ""}[possible(uncertainty.settings).get("sorted_out")]
    values = [(f"{score:.4g}", f"{best.index(index) + 1:0{digits}}", verdict) for index, score in enumerate(scores.tolist())]
    return [{"batch_num": index, **dict(zip(PLACEHOLDERS, each, strict=True))} for index, each in enumerate(values)]
