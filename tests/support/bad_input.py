"""Bad values for the inputs of each node: data for the tests and for the table in ``docs/reliability.md``."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from dev.client import Graph, make

SAMPLER = {
    "model": ["model", 0],
    "seed": 4711,
    "steps": 4,
    "cfg": 3.0,
    "sampler_name": "euler",
    "scheduler": "normal",
    "positive": ["positive", 0],
    "negative": ["negative", 0],
    "latent_image": ["latent", 0],
    "denoise": 1.0,
    "samples": 2,
    "strength": 0.0,
    "percentile": 95.0,
    "window_start": 0.5,
    "window_end": 1.0,
}
MEASURE = {name: SAMPLER[name] for name in ("samples", "strength", "percentile", "window_start", "window_end")}
RECORD = {name: SAMPLER[name] for name in ("samples", "window_start", "window_end")}
OPTIONS = {
    "estimator": "filtered",
    "gradient": "auto",
    "direction": "ascend",
    "mask_scope": "image",
    "mask_side": "high",
    "score_source": "guided",
    "max_batch": 0,
}
MAP = ["sampler", 1]
LOOK = {"uncertainty": MAP, "quantity": "denoised_variance"}
FILTER = {"mode": "keep_best", "keep": 1, "percentile": 50.0, "threshold": 0.0, "reject": "highest"}
FILTER |= {"window_start": 0.0, "window_end": 1.0, "when_none_pass": "block"}
STAGE = {"add_noise": "enable", "noise_seed": 1, "start_at_step": 0, "end_at_step": 4, "return_with_leftover_noise": "disable"}
CUSTOM = {"noise": ["noise", 0], "guider": ["guider", 0], "sampler": ["euler", 0], "sigmas": ["sigmas", 0]}
SUBJECTS: Mapping[str, Mapping[str, Any]] = {
    "UncertaintyKSampler": SAMPLER,
    "UncertaintySamplerCustom": CUSTOM | {"latent_image": ["latent", 0]} | MEASURE,
    "UncertaintyKSamplerAdvanced": {name: value for name, value in SAMPLER.items() if name not in ("seed", "denoise")} | STAGE,
    "UncertaintyGuidance": {"model": ["model", 0]} | MEASURE,
    "UncertaintyRecord": {"model": ["model", 0]} | RECORD,
    "UncertaintyCollect": {"recording": ["record", 1], "after": ["recorded", 0]},
    "UncertaintyOptions": OPTIONS,
    "UncertaintyBaselines": {"paper_score": False, "mc_dropout": False, "cfg_rejection": False, "control": "none"},
    "UncertaintyLaplaceFit": {
        "model": ["model", 0],
        "latents": ["encoded", 0],
        "positive": ["positive", 0],
        "passes": 1,
        "seed": 0,
    },
    "UncertaintyMapPreview": LOOK | {"step": -1, "colormap": "magma", "opacity": 0.6, "normalize": "image"},
    "UncertaintyToMask": LOOK | {"percentile": 90.0, "grow": 0, "feather": 0, "steps": ""},
    "UncertaintyScoreFilter": LOOK | FILTER,
    "UncertaintyExtraScore": {"uncertainty": MAP, "scores": ["sampler", 2], "name": "pickscore", "better": "higher"},
    "UncertaintySaveImage": {"images": ["images", 0], "filename_prefix": "bad/image", "uncertainty": MAP},
    "UncertaintyCalibrate": {"uncertainty": MAP, "name": "bad", "percentile": 95.0},
    "UncertaintyThresholdsSave": {"thresholds": ["thresholds", 0], "filename_prefix": "bad/thresholds"},
    "UncertaintyThresholdsLoad": {"file": ""},
    "UncertaintyMapSave": {"uncertainty": MAP, "filename_prefix": "bad/map"},
    "UncertaintyMapLoad": {"file": ""},
    "UncertaintyPlot": {"uncertainty": MAP},
    "UncertaintyPart": {"uncertainty": MAP, "part": 0},
    "UncertaintySparsification": LOOK | {"images": ["images", 0], "ground_truth": ["images", 0]},
    "UncertaintyDemoModel": {"family": "noise prediction", "checkpoint": "demo model"},
    "UncertaintyPixelModelLoader": {"file": ""},
    "UncertaintyClassLabel": {"model": ["model", 0], "text": "1"},
}

# The nodes that the subjects are connected to.
GROUND: Graph = {
    "model": make("UncertaintyDemoModel", family="noise prediction", checkpoint="demo model"),
    "positive": make("CLIPTextEncode", text="cat face", clip=["model", 1]),
    "negative": make("CLIPTextEncode", text="", clip=["model", 1]),
    "latent": make("EmptyLatentImage", width=256, height=256, batch_size=2),
    "sampler": make("UncertaintyKSampler", **SAMPLER),
    "images": make("VAEDecode", samples=["sampler", 0], vae=["model", 2]),
    "encoded": make("VAEEncode", pixels=["images", 0], vae=["model", 2]),
    "noise": make("RandomNoise", noise_seed=1),
    "euler": make("KSamplerSelect", sampler_name="euler"),
    "sigmas": make("BasicScheduler", model=["model", 0], scheduler="normal", steps=4, denoise=1.0),
    "guider": make("CFGGuider", model=["model", 0], positive=["positive", 0], negative=["negative", 0], cfg=3.0),
    "thresholds": make("UncertaintyCalibrate", uncertainty=MAP, name="good", percentile=95.0),
    "record": make("UncertaintyRecord", model=["model", 0], **RECORD),
    "recorded": make("KSampler", **{name: SAMPLER[name] for name in SAMPLER if name not in MEASURE} | {"model": ["record", 0]}),
}
SUBJECT = "subject"
ONE = make("PrimitiveFloat", value=0.5)
# Nodes without outputs.
SAVES = ("UncertaintySaveImage", "UncertaintyMapSave", "UncertaintyThresholdsSave")


@dataclass(frozen=True)
class Case:
    """A bad value for one input of one node.

    Attributes:
        node: class of the node.
        name: id of the input.
        given: description of the value for the table.
        value: the value; a dictionary changes several inputs.
        fault: instead of a value, what ``Faulty`` does to the linked value.
        works: if the value is accepted after all, what happens.
        output: index of the node's output to look at.
        others: nodes to add to the graph or to replace in it.
    """

    node: str
    name: str
    given: str
    value: Any = None
    fault: str = ""
    works: str = ""
    output: int = 0
    others: Mapping[str, Any] = field(default_factory=dict)

    def graph(self) -> Graph:
        """The graph to queue."""
        graph = deepcopy(GROUND)
        inputs = deepcopy(dict(SUBJECTS[self.node]))
        if self.fault:
            graph["fault"] = make("Faulty", given=inputs[self.name], fault=self.fault)
            inputs[self.name] = ["fault", 0]
        elif isinstance(self.value, dict):
            inputs |= self.value
        elif self.value is None:
            del inputs[self.name]
        else:
            inputs[self.name] = self.value
        graph |= deepcopy(dict(self.others))
        graph[SUBJECT] = make(self.node, **inputs)
        if self.node not in SAVES:
            graph["shown"] = make("PreviewAny", source=[SUBJECT, self.output])
        return graph


def _k(name: str, given: str, value: Any = None, **more: Any) -> Case:
    return Case("UncertaintyKSampler", name, given, value, **more)


def _long(text: str) -> str:
    return text * 300


GUIDED = {"strength": 1.0}
DROPOUT = make("UncertaintyBaselines", paper_score=False, mc_dropout=True, cfg_rejection=False, control="none")
FREE = make("UncertaintyKSampler", **SAMPLER | {"samples": 0})
MISFIT = make("EmptySD3LatentImage", width=256, height=256, batch_size=2)
BIG = make("EmptyLatentImage", width=256, height=256, batch_size=2)
OTHER_STEPS = {"thresholds": ["thresholds", 0], "steps": 5}

CASES = [
    _k("model", "not connected"),
    _k("model", "a CLIP", ["model", 1]),
    _k("model", "a text from a faulty node", fault="a text"),
    _k("seed", "-1", -1),
    _k("steps", "0", 0),
    _k("steps", "1", 1, works="the one step is measured"),
    _k("steps", "a text", "many"),
    _k("cfg", "-1", -1.0),
    _k("sampler_name", "an unknown choice", "from_the_future"),
    _k("scheduler", "an unknown choice", "from_the_future"),
    _k("positive", "not connected"),
    _k("latent_image", "not connected"),
    _k("latent_image", "latents with NaN", fault="latents with NaN"),
    _k("latent_image", "latents with infinity", fault="latents with infinity"),
    _k("latent_image", "no latents", fault="no latents"),
    _k("latent_image", "latents of 5 channels", fault="latents of 5 channels"),
    _k("latent_image", "latents without a batch", fault="latents without a batch"),
    _k("latent_image", "an empty noise mask", fault="an empty noise mask"),
    _k(
        "latent_image",
        "empty latents of another model",
        ["misfit", 0],
        others={"misfit": MISFIT},
        works="ComfyUI adapts them to the model",
    ),
    _k("denoise", "0", 0.0, works="the latent is returned unchanged"),
    _k("denoise", "0, and the map is used", 0.0, output=1),
    _k("denoise", "1.5", 1.5),
    _k("samples", "0", 0, works="nothing is probed; drift and, with CFG, cfg_rejection are recorded"),
    _k("samples", "1", 1),
    _k("samples", "0, and the image is guided", GUIDED | {"samples": 0}),
    _k(
        "samples", "0, and a baseline evaluates the model", {"samples": 0, "options": ["dropout", 0]}, others={"dropout": DROPOUT}
    ),
    _k("samples", "65", 65),
    _k("samples", "64, more than one call can hold", 64, works="each call takes as many probes as fit into memory"),
    _k("strength", "101", 101.0),
    _k("strength", "NaN", float("nan")),
    _k("strength", "100", {"strength": 100.0}, works="the image may be ruined, but the run finishes"),
    _k("percentile", "-1", -1.0),
    _k("percentile", "0", GUIDED | {"percentile": 0.0}, works="all but the least uncertain element are guided"),
    _k("percentile", "100", GUIDED | {"percentile": 100.0}, works="no element is guided"),
    _k("window_start", "equal to window_end", {"window_start": 0.5, "window_end": 0.5}),
    _k("window_start", "above window_end", {"window_start": 0.9, "window_end": 0.5}),
    _k("window_start", "NaN", float("nan")),
    _k("window_end", "2", 2.0),
    _k(
        "window_start",
        "at the end of a short schedule",
        {"window_start": 0.99, "window_end": 1.0},
        works="the last step is measured",
    ),
    _k("thresholds", "for another number of steps", OTHER_STEPS),
    _k(
        "thresholds",
        "a text from a faulty node",
        ["fault", 0],
        others={"fault": make("Faulty", given=["thresholds", 0], fault="a text")},
    ),
    _k(
        "options", "a text from a faulty node", ["fault", 0], others={"fault": make("Faulty", given=["model", 0], fault="a text")}
    ),
    _k("sharpness", "an input of a newer version", 3, works="ComfyUI ignores it"),
    Case(
        "UncertaintySamplerCustom",
        "sigmas",
        "none, and the map is used",
        ["none", 0],
        output=2,
        others={"none": make("SplitSigmas", sigmas=["sigmas", 0], step=0)},
    ),
    Case("UncertaintySamplerCustom", "guider", "not connected"),
    Case("UncertaintySamplerCustom", "guider", "a text from a faulty node", fault="a text"),
    Case("UncertaintySamplerCustom", "latent_image", "no latents", fault="no latents"),
    Case("UncertaintySamplerCustom", "window_start", "above window_end", {"window_start": 0.9, "window_end": 0.5}),
    Case("UncertaintyKSamplerAdvanced", "add_noise", "yes", "yes"),
    Case("UncertaintyKSamplerAdvanced", "start_at_step", "steps, and the map is used", 4, output=1),
    Case("UncertaintyKSamplerAdvanced", "end_at_step", "-1", -1),
    Case("UncertaintyKSamplerAdvanced", "sampler_name", "a sampler that is not installed", "euler_from_elsewhere"),
    Case("UncertaintyKSamplerAdvanced", "latent_image", "no latents", fault="no latents"),
    Case("UncertaintyGuidance", "window_start", "above window_end", {"window_start": 0.9, "window_end": 0.5}),
    Case("UncertaintyGuidance", "model", "not connected"),
    Case("UncertaintyRecord", "model", "not connected"),
    Case("UncertaintyRecord", "samples", "1", 1),
    Case("UncertaintyRecord", "window_start", "above window_end", {"window_start": 0.9, "window_end": 0.5}),
    Case("UncertaintyCollect", "recording", "not connected"),
    Case("UncertaintyCollect", "recording", "a text from a faulty node", fault="a text"),
    Case("UncertaintyCollect", "after", "not connected"),
    Case("UncertaintyCollect", "after", "an output of a node before the sampling", ["latent", 0]),
    Case(
        "UncertaintyCollect",
        "whole",
        "latents of another size",
        ["misfit", 0],
        others={"misfit": MISFIT},
        works="the tile keeps its number and size as its name",
    ),
    Case("UncertaintyOptions", "estimator", "a choice of a newer version", "from_the_future"),
    Case("UncertaintyOptions", "gradient", "a choice of a newer version", "from_the_future"),
    Case("UncertaintyOptions", "direction", "a choice of a newer version", "from_the_future"),
    Case("UncertaintyOptions", "mask_scope", "a choice of a newer version", "from_the_future"),
    Case("UncertaintyOptions", "mask_side", "a choice of a newer version", "from_the_future"),
    Case("UncertaintyOptions", "score_source", "a choice of a newer version", "from_the_future"),
    Case("UncertaintyOptions", "max_batch", "-1", -1),
    Case("UncertaintyOptions", "map_memory", "-1", -1),
    Case("UncertaintyOptions", "guided_quantity", "a choice of a newer version", "from_the_future"),
    Case("UncertaintyBaselines", "control", "a choice of a newer version", "from_the_future"),
    Case("UncertaintyLaplaceFit", "passes", "0", 0),
    Case("UncertaintyLaplaceFit", "latents", "no latents", fault="no latents"),
    Case("UncertaintyLaplaceFit", "latents", "latents of 5 channels", fault="latents of 5 channels"),
    Case("UncertaintyLaplaceFit", "latents", "latents with NaN", fault="latents with NaN"),
    Case("UncertaintyMapPreview", "uncertainty", "not connected"),
    Case("UncertaintyMapPreview", "uncertainty", "a text from a faulty node", fault="a text"),
    Case(
        "UncertaintyMapPreview",
        "images",
        "one image too few",
        ["fault", 0],
        others={"fault": make("Faulty", given=["images", 0], fault="one image less")},
    ),
    Case("UncertaintyMapPreview", "step", "not recorded", 1),
    Case("UncertaintyMapPreview", "quantity", "a choice of a newer version", "from_the_future"),
    Case(
        "UncertaintyMapPreview",
        "quantity",
        "one that needs probes, and samples was 0",
        "denoised_variance",
        others={"sampler": FREE, "thresholds": BIG},  # nothing else may fail before it
    ),
    Case("UncertaintyMapPreview", "step", "one of drift, which belongs to the whole run", {"quantity": "drift", "step": 3}),
    Case("UncertaintyMapPreview", "colormap", "a choice of a newer version", "from_the_future"),
    Case("UncertaintyMapPreview", "opacity", "1.5", 1.5),
    Case("UncertaintyMapPreview", "normalize", "a choice of a newer version", "from_the_future"),
    Case("UncertaintyToMask", "steps", "no numbers", "all"),
    Case("UncertaintyToMask", "steps", "backwards", "48-45"),
    Case("UncertaintyToMask", "steps", "not recorded", "0"),
    Case("UncertaintyToMask", "percentile", "100", 100.0, works="an empty mask"),
    Case("UncertaintyToMask", "percentile", "0", 0.0, works="all but the least uncertain pixel"),
    Case("UncertaintyToMask", "grow", "1024, more than the image", 1024, works="the whole image"),
    Case("UncertaintyToMask", "feather", "-1", -1),
    Case("UncertaintyScoreFilter", "uncertainty", "a text from a faulty node", fault="a text"),
    Case(
        "UncertaintyScoreFilter",
        "images",
        "one image too few",
        ["fault", 0],
        others={"fault": make("Faulty", given=["images", 0], fault="one image less")},
    ),
    Case(
        "UncertaintyScoreFilter",
        "latents",
        "one latent too few",
        ["fault", 0],
        others={"fault": make("Faulty", given=["sampler", 0], fault="one latent less")},
    ),
    Case(
        "UncertaintyScoreFilter",
        "masks",
        "masks of another batch",
        ["fault", 0],
        others={"fault": make("Faulty", given=["images", 0], fault="masks of another batch")},
    ),
    Case("UncertaintyScoreFilter", "mode", "a choice of a newer version", "from_the_future"),
    Case("UncertaintyScoreFilter", "keep", "more than there are", 99, works="all are kept"),
    Case("UncertaintyScoreFilter", "threshold", "NaN", {"mode": "threshold", "threshold": float("nan")}),
    Case("UncertaintyScoreFilter", "quantity", "a baseline that was not measured", "mc_dropout"),
    Case("UncertaintyScoreFilter", "window_start", "a window without recorded steps", {"window_start": 0.0, "window_end": 0.1}),
    Case(
        "UncertaintyScoreFilter",
        "when_none_pass",
        "error, and none passes",
        {"mode": "threshold", "threshold": -1.0, "when_none_pass": "error"},
    ),
    Case("UncertaintyScoreFilter", "by_hand", "no JSON", "keep image 3"),
    Case("UncertaintyScoreFilter", "by_hand", "an image that is not in the batch", '{"keep": [99]}'),
    Case(
        "UncertaintyScoreFilter",
        "thresholds",
        "for another number of steps",
        {"mode": "reference", "thresholds": ["other", 0]},
        others={
            "longer": make("UncertaintyKSampler", **SAMPLER | {"steps": 5}),
            "other": make("UncertaintyCalibrate", uncertainty=["longer", 1], name="longer", percentile=95.0),
        },
    ),
    Case("UncertaintyExtraScore", "uncertainty", "a text from a faulty node", fault="a text"),
    Case("UncertaintyExtraScore", "scores", "a list of numbers", ["sampler", 2], works="each image gets its number"),
    Case("UncertaintyExtraScore", "scores", "a text from a faulty node", fault="a text"),
    Case("UncertaintyExtraScore", "scores", "one number for two images", {"scores": ["one", 0]}, others={"one": ONE}),
    Case("UncertaintyExtraScore", "scores", "images", {"scores": ["images", 0]}),
    Case("UncertaintyExtraScore", "name", "empty", ""),
    Case("UncertaintyExtraScore", "name", "the name of a quantity", "denoised_variance"),
    Case(
        "UncertaintyExtraScore",
        "name",
        "the name of another extra score",
        {"uncertainty": ["first", 0]},
        others={"first": make("UncertaintyExtraScore", uncertainty=MAP, scores=["sampler", 2], name="pickscore", better="lower")},
    ),
    Case("UncertaintyExtraScore", "better", "a choice of a newer version", "from_the_future"),
    Case("UncertaintySaveImage", "images", "one image too few", fault="one image less"),
    Case("UncertaintySaveImage", "filename_prefix", "a path outside the folder", "../../out"),
    Case("UncertaintySaveImage", "filename_prefix", "an absolute path", "/out"),
    Case("UncertaintySaveImage", "filename_prefix", "300 characters", _long("x")),
    Case("UncertaintySaveImage", "filename_prefix", "a NUL character", "bad\0name"),
    Case("UncertaintySaveImage", "filename_prefix", "a colon in the time", "bad/%date:hh:mm%"),
    Case("UncertaintySaveImage", "filename_prefix", "a device of Windows", "bad\\con\\cat"),
    Case("UncertaintySaveImage", "filename_prefix", "a dot alone", "bad/."),
    Case("UncertaintySaveImage", "filename_prefix", "a widget that does not exist", "bad/%No such node.width%"),
    Case("UncertaintySaveImage", "filename_prefix", "a folder for each verdict", "bad/%verdict%/image"),
    Case("UncertaintySaveImage", "filename_prefix", "a date", "bad/%date:yyyy-MM-dd%", works="the date is filled in"),
    Case("UncertaintySaveImage", "filename_prefix", "letters of other scripts", "bad/猫 ü", works="the file gets this name"),
    Case("UncertaintySaveImage", "format", "a choice of a newer version", "from_the_future"),
    Case("UncertaintyMapSave", "filename_prefix", "a path outside the folder", "../../out"),
    Case("UncertaintyMapSave", "filename_prefix", "300 characters", _long("x")),
    Case("UncertaintyMapSave", "filename_prefix", "a NUL character", "bad\0name"),
    Case("UncertaintyMapSave", "uncertainty", "a text from a faulty node", fault="a text"),
    Case("UncertaintyThresholdsSave", "filename_prefix", "a path outside the folder", "../../out"),
    Case("UncertaintyThresholdsSave", "filename_prefix", "300 characters", _long("x")),
    Case("UncertaintyCalibrate", "name", "empty", ""),
    Case("UncertaintyCalibrate", "name", "a path outside the folder", "../x"),
    Case("UncertaintyCalibrate", "name", "300 characters", _long("x")),
    Case("UncertaintyCalibrate", "name", "a NUL character", "bad\0name"),
    Case("UncertaintyCalibrate", "name", "a colon", "a: b"),
    Case("UncertaintyCalibrate", "name", "letters of other scripts", "bad/猫 ü", works="the file gets this name"),
    Case(
        "UncertaintyCalibrate",
        "name",
        "a calibration with other settings",
        {"name": "good", "uncertainty": ["longer", 1]},
        others={
            "longer": make("UncertaintyKSampler", **SAMPLER | {"steps": 5}),
        },
    ),
    Case("UncertaintyCalibrate", "name", "a damaged file", "damaged"),
    Case("UncertaintyPlot", "uncertainty", "a text from a faulty node", fault="a text"),
    Case("UncertaintyPart", "uncertainty", "a text from a faulty node", fault="a text"),
    Case("UncertaintyPart", "part", "0 of an image", 0, works="the map is passed on"),
    Case("UncertaintyPart", "part", "the sound of an image", 1),
    Case("UncertaintySparsification", "ground_truth", "images of half the size", fault="images of half the size"),
    Case(
        "UncertaintySparsification",
        "ground_truth",
        "one for all images",
        fault="one image less",
        works="each image is compared with it",
    ),
    Case("UncertaintySparsification", "images", "images with NaN", fault="images with NaN"),
    Case("UncertaintyDemoModel", "family", "an unknown choice", "from_the_future"),
    Case("UncertaintyDemoModel", "checkpoint", "an unknown choice", "none.safetensors"),
    Case("UncertaintyClassLabel", "model", "a model without classes", {"text": "1"}),
    Case("UncertaintyClassLabel", "model", "a text from a faulty node", fault="a text"),
]
FILES = {
    "missing": "that does not exist",
    "empty": "that is empty",
    "truncated": "that is truncated",
    "long header": "whose header claims 2⁶³ bytes",
    "bad header": "whose header is not JSON",
    "deep header": "whose header is nested 100,000 levels deep",
    "pickle": "that is a pickle",
    "other": "from another program",
    "calibration": "with a calibration",
    "newer": "from a newer version",
    "setting": "with a setting of another type",
    "lacking": "that lacks a tensor",
    "ragged": "whose tensors have inconsistent shapes",
    "flipped": "with NaN in it",
    "folder": "that is a folder",
    "pipe": "that is a pipe",
}
FINE = {("UncertaintyMapLoad", "flipped"): "its images have no valid score and rank last"}
CASES += [
    Case(node, "file", f"a file {given}", f"uncertainty/{name}.safetensors [output]", works=FINE.get((node, name), ""))
    for node in ("UncertaintyMapLoad", "UncertaintyThresholdsLoad")
    for name, given in FILES.items()
]
MODELS = {"rubbish.safetensors": "that is damaged", "other.safetensors": "of unknown layout", "code.pt": "with code in it"}
CASES += [Case("UncertaintyPixelModelLoader", "file", f"a file {given}", name) for name, given in MODELS.items()]
CASES += [
    Case(node, "file", "a path outside the folder", "../secret.safetensors [output]")
    for node in ("UncertaintyMapLoad", "UncertaintyThresholdsLoad", "UncertaintyPixelModelLoader")
]
