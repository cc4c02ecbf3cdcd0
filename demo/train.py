"""Train the demo model from the npm package: ``make train``, or ``python -m demo.train`` with ComfyUI on the path.

One network learns the clean image at noise levels that cover both families (see ``network.py``). For the first steps, the target
is the negative velocity ``sin(θ)·x0 - cos(θ)·n`` (Salimans & Ho 2022, arXiv 2202.00512), which equals x0 at high noise, where
shapes form. After that, the target is x0 at all levels. An interrupted run resumes from its last checkpoint. Data order, noise
and dropout depend only on the seed and the step number.
"""

import argparse
import csv
import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import affine_grid, grid_sample

from . import data

HERE = Path(__file__).parent
WORK = HERE / ".train"
WEIGHTS = HERE / "emoji64.safetensors"

BATCH = 32
LOG_EVERY = 50
LEARNING_RATE = 6e-4
WARMUP = 200
COOLDOWN = 0.35  # last part of the run, in which the learning rate falls linearly to zero
EMA = 0.999
EMPTY_PROMPT = 0.1
VELOCITY_STEPS = 6600
# The loss is that of the velocity, (x0 error / sin θ)², with the weight 1 / sin² θ limited to this value.
LARGEST_WEIGHT = 10.0
SAVE_EVERY = 200

Captions = Callable[[list[data.Picture], dict[str, int], int, torch.Generator], Tensor]
Change = Callable[[Tensor, Tensor, torch.Generator], Tensor]


def initialise(model: nn.Module) -> None:
    """Initialise each layer as torch does (ComfyUI's layers do not), and the end of each residual branch with zeros."""
    for module in model.modules():
        for base in (nn.Linear, nn.Conv2d, nn.GroupNorm, nn.LayerNorm):
            if isinstance(module, base):
                base.reset_parameters(module)  # type: ignore[arg-type]
    for name, parameter in model.named_parameters():
        if ".out_layers.3." in name or ".proj_out." in name or name.startswith("out.2."):
            nn.init.zeros_(parameter)


def sample_captions(pictures: list[data.Picture], ids: dict[str, int], length: int, rng: torch.Generator) -> Tensor:
    """Word ids (B, length), padded with 0: a random subset of each picture's words, or none."""
    rows = torch.zeros(len(pictures), length, dtype=torch.long)
    for row, picture in zip(rows, pictures, strict=True):
        if torch.rand((), generator=rng) < EMPTY_PROMPT:
            continue
        keep = [w for w in picture.words if torch.rand((), generator=rng) < 0.9] or list(picture.words)
        if torch.rand((), generator=rng) < 0.3:
            keep += [w for w in picture.extra_words if torch.rand((), generator=rng) < 0.5]
        for i, word in enumerate(keep[:length]):
            row[i] = ids[word]
    return rows


def augment(pixels: Tensor, mirrored: Tensor, rng: torch.Generator) -> Tensor:
    """Shrink and move a quarter of the pictures, and mirror half of those that may be mirrored, on a white background."""
    count = len(pixels)
    scale = 1 / (1 - 0.18 * torch.rand(count, generator=rng))
    moved = torch.rand(count, generator=rng) < 0.25
    scale = torch.where(moved, scale, torch.ones(()))
    flip = torch.where(mirrored & (torch.rand(count, generator=rng) < 0.5), -1.0, 1.0)
    shift = (torch.rand(count, 2, generator=rng) * 2 - 1) * (scale - 1)[:, None]
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0] = scale * flip
    theta[:, 1, 1] = scale
    theta[:, :, 2] = shift
    grid = affine_grid(theta, list(pixels.shape), align_corners=False)
    return grid_sample(pixels - 1, grid, align_corners=False) + 1


def sample_angles(count: int, rng: torch.Generator) -> Tensor:
    """Noise angles (B,). log σ is normal around the levels where shapes form in three quarters of cases, otherwise uniform."""
    log_sigma = 0.4 + 1.2 * torch.randn(count, generator=rng)
    wide = torch.rand(count, generator=rng) * 8 - 4.5
    log_sigma = torch.where(torch.rand(count, generator=rng) < 0.25, wide, log_sigma)
    return torch.atan(log_sigma.exp())


class Trainee(nn.Module):
    """The network and the word vectors, trained together."""

    def __init__(self, words: int, config: dict[str, Any] | None = None) -> None:
        super().__init__()
        from .network import CONTEXT_DIM, UNET_CONFIG, DemoUNet
        from .text import BagOfWords

        self.unet = DemoUNet(**(config or UNET_CONFIG))
        self.text = BagOfWords(words, CONTEXT_DIM)
        initialise(self.unet)
        nn.init.normal_(self.text.vectors, std=0.7)

    def loss(self, x0: Tensor, words: Tensor, angle: Tensor, noise: Tensor, velocity: bool) -> Tensor:
        """Weighted mean squared error of the clean image, or of the negative velocity."""
        cos, sin = torch.cos(angle)[:, None, None, None], torch.sin(angle)[:, None, None, None]
        context, pooled = self.text(words, torch.ones(words.shape, device=words.device))
        predicted = self.unet.denoised(cos * x0 + sin * noise, angle, context, pooled, transformer_options={}).float()
        if velocity:
            return (predicted - (sin * x0 - cos * noise)).square().mean()
        return ((predicted - x0).square() * sin.pow(-2).clamp(max=LARGEST_WEIGHT)).mean()


def learning_rate(step: int, steps: int, highest: float = LEARNING_RATE) -> float:
    """Learning rate at a step: warm-up, then constant, then a linear fall to zero."""
    return highest * min(1.0, (step + 1) / WARMUP, (steps - step) / max(1, COOLDOWN * steps))


def write(tensors: dict[str, Tensor], metadata: dict[str, str], path: Path) -> None:
    """Write a safetensors file atomically."""
    temporary = path.with_suffix(".tmp")
    save_file(tensors, temporary, metadata)
    temporary.replace(path)


def export(
    model: Trainee,
    ema: dict[str, Tensor],
    vocabulary: list[str],
    training: dict[str, Any],
    path: Path,
    title: str = WEIGHTS.stem,
    licence: str = "Apache-2.0",
) -> None:
    """Write the averaged weights in half precision, with how they were trained and under which licence they are."""
    from .network import UNET_CONFIG

    tensors = {}
    for name in model.state_dict():
        if name.startswith("unet."):
            tensors["model.diffusion_model." + name.removeprefix("unet.")] = ema[name].half().contiguous().cpu()
        else:
            tensors["cond_stage_model.bag_of_words." + name.removeprefix("text.")] = ema[name].half().contiguous().cpu()
    metadata = {
        "format": "pt",
        "modelspec.title": title,
        "modelspec.license": licence,
        "vocabulary": json.dumps(vocabulary),
        "unet_config": json.dumps(UNET_CONFIG),
        "training": json.dumps(training),
    }
    write(tensors, metadata, path)


def training_pictures() -> tuple[list[data.Picture], list[str]]:
    """The pictures that are not held out, and all words of their captions."""
    pictures = [p for p in data.load(data.download(WORK)) if not p.held_out]
    return pictures, sorted({w for p in pictures for w in p.words + p.extra_words})


def fit(
    model: Trainee,
    pictures: list[data.Picture],
    vocabulary: list[str],
    steps: int,
    seed: int,
    folder: Path,
    save: Callable[[dict[str, Tensor], int], None],
    *,
    captions: Captions = sample_captions,
    change: Change = augment,
    encode: Callable[[Tensor], Tensor] = lambda pixels: pixels,
    highest_rate: float = LEARNING_RATE,
    velocity_steps: int = 0,
) -> tuple[dict[str, Tensor], int]:
    """Train the parameters that require gradients, resuming from the last checkpoint.

    Args:
        model: the model to train.
        pictures: the training pictures.
        vocabulary: the words of the model's word vectors, in order.
        steps: total number of steps; the learning rate reaches zero there.
        seed: seed of data order, noise and dropout.
        folder: folder of the checkpoint and the log.
        save: called at every checkpoint with the averaged weights and the number of steps.
        captions: draws the words of pictures, as ``sample_captions``.
        change: draws a changed copy of each picture, as ``augment``.
        encode: turns pixels (B, 3, 64, 64) into what the network denoises.
        highest_rate: the highest learning rate.
        velocity_steps: number of steps for which the target is the negative velocity.

    Returns:
        The averaged weights and the number of steps they were trained for.

    Raises:
        RuntimeError: the loss is not a number.
    """
    ids = {w: i for i, w in enumerate(vocabulary, start=1)}
    pixels = torch.stack([p.pixels for p in pictures])
    mirrored = torch.tensor([p.mirrored for p in pictures])
    device = next(model.parameters()).device
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=highest_rate, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    ema = {k: v.clone() for k, v in model.state_dict().items()}
    start = 0
    checkpoint = folder / "checkpoint.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        ema, start = state["ema"], state["step"]
    parameters = sum(p.numel() for p in trained)
    print(f"{len(pictures)} pictures, {len(vocabulary)} words, {parameters / 1e6:.2f} M parameters, step {start} of {steps}")

    length, began, losses = 8, time.monotonic(), []
    for step in range(start, steps):
        rng = torch.manual_seed(seed * 10_000_000 + step)  # seeds the global generator, because dropout uses it too
        chosen = torch.randint(len(pictures), (BATCH,), generator=rng)
        x0 = encode(change(pixels[chosen], mirrored[chosen], rng)).to(device)
        words = captions([pictures[i] for i in chosen.tolist()], ids, length, rng).to(device)
        angle = sample_angles(BATCH, rng).to(device)
        noise = torch.randn(x0.shape, generator=rng).to(device)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps, highest_rate)
        with torch.autocast(device.type, torch.bfloat16):
            loss = model.loss(x0, words, angle, noise, velocity=step < velocity_steps)
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        decay = min(EMA, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(list(ema.values()), list(model.state_dict().values()), 1 - decay)
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            raise RuntimeError(f"the loss of step {step + 1} is not a number: resume from the last checkpoint with another seed.")
        if (step + 1) % LOG_EVERY == 0:
            _log(folder / "loss.csv", step + 1, steps, losses, (step + 1 - start) / (time.monotonic() - began))
            losses = []
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == steps:
            _replace(checkpoint, {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "ema": ema, "step": step + 1})
            save(ema, step + 1)
    return ema, max(start, steps)


def _log(log: Path, step: int, steps: int, losses: list[float], rate: float) -> None:
    """Write the mean of the last losses to the log, and print it with the time that is left at ``rate`` steps a second."""
    mean = sum(losses) / len(losses)
    new = not log.exists()
    with log.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(["step", "loss"])
        writer.writerow([step, f"{mean:.5f}"])
    left = (steps - step) / rate
    print(f"step {step}/{steps}  loss {mean:.4f}  {rate * BATCH:.0f} images/s  {left / 60:.0f} min left", flush=True)


def _replace(checkpoint: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint in one step."""
    temporary = checkpoint.with_suffix(".tmp")
    torch.save(state, temporary)
    temporary.replace(checkpoint)


def train(steps: int, seed: int, device: torch.device) -> None:
    """Train the demo model, or resume its training, and write its weights.

    Raises:
        RuntimeError: the pictures cannot be downloaded, or the loss is not a number.
    """
    pictures, vocabulary = training_pictures()
    torch.manual_seed(seed)
    model = Trainee(len(vocabulary)).to(device).train()

    def keep(ema: dict[str, Tensor], done: int, path: Path = WORK / "latest.safetensors") -> None:
        training = {"images": done * BATCH, "batch": BATCH, "data": data.NOTO.package}
        export(model, ema, vocabulary, training, path)

    done = fit(model, pictures, vocabulary, steps, seed, WORK, keep, change=augment, velocity_steps=VELOCITY_STEPS)
    keep(*done, WEIGHTS)
    print(f"wrote {WEIGHTS}")


def main(train: Callable[[int, int, torch.device], None] = train, steps: int = 13000, description: str | None = __doc__) -> None:
    """Command line of a training, which is ``train(steps, seed, device)``."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    sys.argv = sys.argv[:1]  # ComfyUI reads the command line when it is imported
    import comfy.options

    comfy.options.enable_args_parsing(False)
    try:
        train(arguments.steps, arguments.seed, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    except (RuntimeError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped: run the same command to resume from the last checkpoint.")


if __name__ == "__main__":
    main()
