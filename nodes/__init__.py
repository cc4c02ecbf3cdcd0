"""The pack's nodes for ComfyUI."""

from comfy_api.latest import ComfyExtension, io

from .demo_model import UncertaintyDemoModel
from .preview import UncertaintyMapPreview
from .sampler import UncertaintyKSampler
from .score_filter import UncertaintyScoreFilter


class UncertaintyExtension(ComfyExtension):
    """What ComfyUI loads."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """All node classes."""
        return [UncertaintyKSampler, UncertaintyMapPreview, UncertaintyScoreFilter, UncertaintyDemoModel]
