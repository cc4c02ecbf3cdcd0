"""The pack's nodes for ComfyUI."""

from comfy_api.latest import ComfyExtension, io

from .baseline_options import UncertaintyBaselines
from .calibration import UncertaintyCalibrate, UncertaintyThresholdsLoad, UncertaintyThresholdsSave
from .custom_sampler import UncertaintySamplerCustom
from .demo_model import UncertaintyDemoModel
from .guidance import UncertaintyGuidance
from .laplace import UncertaintyLaplaceFit
from .map_files import UncertaintyMapLoad, UncertaintyMapSave
from .mask import UncertaintyToMask
from .options import UncertaintyOptions
from .pixel_models import UncertaintyClassLabel, UncertaintyPixelModelLoader
from .plot import UncertaintyPlot
from .preview import UncertaintyMapPreview
from .routes import add_routes
from .sampler import UncertaintyKSampler
from .save_image import UncertaintySaveImage
from .score_filter import UncertaintyScoreFilter
from .sparsification import UncertaintySparsification


class UncertaintyExtension(ComfyExtension):
    """What ComfyUI loads."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """All node classes; with them come the routes of the sidebar tab (0.3.75 never calls ``on_load``)."""
        add_routes()
        return [
            UncertaintyKSampler,
            UncertaintySamplerCustom,
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
        ]
