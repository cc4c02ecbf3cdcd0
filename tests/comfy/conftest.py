"""ComfyUI in this process, in inference mode, as ComfyUI's executor runs nodes."""

import importlib
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest
import torch

from real_models import Loaded, Sampling, load_all


@pytest.fixture(scope="session")
def pack(comfy_pack: ModuleType) -> Callable[[str], ModuleType]:
    """Modules of the pack, as ComfyUI loaded it: ``pack("nodes.sampling.ksampler")``."""
    return lambda name: importlib.import_module(f"{comfy_pack.__name__}.{name}")


@pytest.fixture(autouse=True)
def inference_mode() -> Iterator[None]:
    """ComfyUI executes nodes in inference mode."""
    with torch.inference_mode():
        yield


@pytest.fixture(scope="session")
def loaded_models(pack: Callable[[str], ModuleType]) -> dict[str, Loaded]:
    """All models, built once."""
    with torch.inference_mode():
        return load_all(pack)


@pytest.fixture(params=["sd15", "sd3", "flux", "demo-eps", "demo-flow"])
def loaded(request: pytest.FixtureRequest, loaded_models: dict[str, Loaded]) -> Loaded:
    """Each model in turn."""
    return loaded_models[request.param]


@pytest.fixture(scope="session")
def sampling(pack: Callable[[str], ModuleType]) -> Sampling:
    """Runs the pack's sampler node and ComfyUI's KSampler on the same inputs."""
    import comfy.utils

    comfy.utils.set_progress_bar_enabled(False)
    return Sampling(pack)
