"""A pack for tests: its node becomes several nodes while the prompt runs, as loops of other packs do."""

from typing import Any

from comfy_execution.graph_utils import GraphBuilder

SAMPLING = {
    "model": ("MODEL",), "positive": ("CONDITIONING",), "negative": ("CONDITIONING",), "latent_image": ("LATENT",),
    "seed": ("INT", {"default": 0}), "rounds": ("INT", {"default": 2}),
}  # fmt: skip


class Rounds:
    """Samples a latent several times, each time with the next seed."""

    RETURN_TYPES = ("LATENT",)
    FUNCTION = "run"
    CATEGORY = "test"

    @classmethod
    def INPUT_TYPES(cls) -> dict:
        """Those of a sampler, and the number of rounds."""
        return {"required": SAMPLING}

    def run(self, model: Any, positive: Any, negative: Any, latent_image: Any, seed: int, rounds: int) -> dict:
        """A chain of KSamplers."""
        graph, latent = GraphBuilder(), latent_image
        how = {"steps": 4, "cfg": 3.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 0.5}
        for number in range(rounds):
            given = {"model": model, "positive": positive, "negative": negative, "latent_image": latent, "seed": seed + number}
            latent = graph.node("KSampler", **given, **how).out(0)
        return {"result": (latent,), "expand": graph.finalize()}


NODE_CLASS_MAPPINGS = {"Rounds": Rounds}
