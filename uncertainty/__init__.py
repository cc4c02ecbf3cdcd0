"""Pixel-wise uncertainty of diffusion models, measured during sampling. Needs only torch and numpy.

De Vita & Belagiannis, *Diffusion Model Guided Sampling with Pixel-Wise Aleatoric Uncertainty Estimation*, WACV 2025,
arXiv 2412.00205, called "the paper" throughout.
"""

from .estimation import Estimate, estimate
from .estimators import ESTIMATORS
from .guidance import Guided, guide
from .maps import UncertaintyMap
from .noising import Noising, rectified_flow, variance_exploding
from .quantities import PROBED, QUANTITIES
from .scores import Score

__version__ = "0.1.0"

__all__ = [
    "ESTIMATORS",
    "PROBED",
    "QUANTITIES",
    "Estimate",
    "Guided",
    "Noising",
    "Score",
    "UncertaintyMap",
    "estimate",
    "guide",
    "rectified_flow",
    "variance_exploding",
]
