"""Train the latent model from the demo model: ``make train-latent``.

The first and last convolution of the demo network work on patches of 4x4 pixels. Multiplied by the matrix of the autoencoder,
they work on latents, and the network is a fair denoiser of latents before training. Training then follows ``demo/train.py`` with
the clean latents as the target. The largest tensors (most of the convolutions at 8x8) are not trained, which saves time and keeps
the file small.
"""

import json
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from demo import model as demo
from demo import train as demo_train

from .latent_model import CHANNELS, WEIGHTS, PatchCodec, fingerprint

WORK = demo_train.WORK
HIGHEST_RATE = 4e-4
LARGEST_TRAINED = 120_000  # elements of a tensor


def latent_config(header: dict[str, str]) -> dict[str, Any]:
    """The UNet's configuration for latents, from the header of the demo weights."""
    return json.loads(header["unet_config"]) | {"in_channels": CHANNELS, "out_channels": CHANNELS, "patch": 1}


def initialise(model: nn.Module, codec: PatchCodec) -> None:
    """Load the demo model's weights, with the first and last convolution projected onto the codec's components."""
    tensors = {name: tensor.float() for name, tensor in demo.read(demo.WEIGHTS)[0].items()}
    first, last = (demo.UNET_PREFIX + name for name in ("input_blocks.0.0.weight", "out.2.weight"))
    expand, project = codec.components * codec.scale[:, None], codec.components / codec.scale[:, None]
    tensors[first] = torch.einsum("okij,ck->ocij", tensors[first], expand)
    tensors[last] = torch.einsum("ck,kiuv->ciuv", project, tensors[last])
    bias = last.replace("weight", "bias")
    tensors[bias] = project @ tensors[bias]
    names = {demo.UNET_PREFIX: "unet.", f"{demo.TEXT_PREFIX}bag_of_words.": "text."}
    model.load_state_dict(
        {new + n.removeprefix(old): t for old, new in names.items() for n, t in tensors.items() if n.startswith(old)}
    )


def train(steps: int, seed: int, device: torch.device) -> None:
    """Train the latent model, or resume its training, and write its weights.

    Raises:
        RuntimeError: the pictures cannot be downloaded, or the loss is not a number.
    """
    shared, header = demo.read(demo.WEIGHTS)
    base = fingerprint(shared)
    folder = WORK / f"latent-{base}"  # a checkpoint can be resumed only with the demo weights it started from
    config = latent_config(header)
    pictures, vocabulary = demo_train.training_pictures()
    if vocabulary != json.loads(header["vocabulary"]):
        raise RuntimeError(f"{demo.WEIGHTS} was trained with a different vocabulary: run `make train` first.")
    codec = PatchCodec.of(torch.stack([p.pixels for p in pictures]))
    model = demo_train.Trainee(len(vocabulary), config).to(device).train()
    initialise(model, codec)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith("unet.") and parameter.numel() <= LARGEST_TRAINED)
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()

    def export(ema: dict[str, Tensor], done: int, path: Path = folder / "latest.safetensors") -> None:
        tensors = {demo.UNET_PREFIX + n.removeprefix("unet."): ema[n].half().contiguous().cpu() for n in trained}
        tensors |= {"codec.components": codec.components, "codec.scale": codec.scale}
        training = {"images": done * demo_train.BATCH, "batch": demo_train.BATCH, "data": demo_train.data.NOTO.package}
        metadata = {"format": "pt", "modelspec.title": WEIGHTS.stem, "modelspec.license": "Apache-2.0", "base": base}
        metadata |= {"unet_config": json.dumps(config), "training": json.dumps(training)}
        demo_train.write(tensors, metadata, path)

    done = demo_train.fit(
        model, pictures, vocabulary, steps, seed, folder, export, encode=codec.project, highest_rate=HIGHEST_RATE
    )
    export(*done, WEIGHTS)
    print(f"wrote {WEIGHTS} after {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    demo_train.main(train, steps=4000, description=__doc__)
