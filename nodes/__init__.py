"""The pack's nodes for ComfyUI."""

from comfy_api.latest import ComfyExtension, io

from .calibrating.calibration_nodes import UncertaintyCalibrate, UncertaintyThresholdsLoad, UncertaintyThresholdsSave
from .choosing.extra_score import UncertaintyExtraScore
from .choosing.ledger_routes import add_routes
from .choosing.save_image import UncertaintySaveImage
from .choosing.score_filter import UncertaintyScoreFilter
from .experiments.baseline_options import UncertaintyBaselines
from .experiments.laplace_fit import UncertaintyLaplaceFit
from .experiments.paper_model_nodes import UncertaintyClassLabel, UncertaintyPixelModelLoader
from .experiments.sparsification_node import UncertaintySparsification
from .looking.map_files import UncertaintyMapLoad, UncertaintyMapSave
from .looking.map_part import UncertaintyPart
from .looking.map_preview import UncertaintyMapPreview
from .looking.map_to_mask import UncertaintyToMask
from .looking.step_plot import UncertaintyPlot
from .sampling.collected_maps import UncertaintyCollect
from .sampling.custom_sampler import UncertaintySamplerCustom
from .sampling.demo_model import UncertaintyDemoModel
from .sampling.guidance_patch import UncertaintyGuidance
from .sampling.ksampler import UncertaintyKSampler
from .sampling.ksampler_advanced import UncertaintyKSamplerAdvanced
from .sampling.recording_patch import UncertaintyRecord
from .sampling.uncertainty_options import UncertaintyOptions


class UncertaintyExtension(ComfyExtension):
    """What ComfyUI loads."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """All node classes; with them come the routes of the sidebar tab (0.3.75 never calls ``on_load``)."""
        add_routes()
        return [
            UncertaintyKSampler,
            UncertaintySamplerCustom,
            UncertaintyKSamplerAdvanced,
            UncertaintyGuidance,
            UncertaintyOptions,
            UncertaintyBaselines,
            UncertaintyLaplaceFit,
            UncertaintyMapPreview,
            UncertaintyToMask,
            UncertaintyScoreFilter,
            UncertaintySaveImage,
            UncertaintyCalibrate,
            UncertaintyThresholdsSave,
            UncertaintyThresholdsLoad,
            UncertaintyMapSave,
            UncertaintyMapLoad,
            UncertaintyPlot,
            UncertaintySparsification,
            UncertaintyDemoModel,
            UncertaintyPixelModelLoader,
            UncertaintyClassLabel,
            UncertaintyExtraScore,
            UncertaintyRecord,
            UncertaintyCollect,
            UncertaintyPart,
        ]
