"""The benchmark for graphics cards, as far as it runs on a processor: with models of toy size."""

import json
from pathlib import Path
from types import ModuleType

import pytest
import torch

UNET = {
    "image_size": 32, "in_channels": 4, "out_channels": 4, "model_channels": 32, "num_res_blocks": [1, 1], "channel_mult": (1, 2),
    "transformer_depth": [1, 0], "transformer_depth_output": [1, 1, 0, 0], "num_heads": 4, "transformer_depth_middle": 1,
    "use_spatial_transformer": True, "context_dim": 16, "legacy": False,
}  # fmt: skip


@pytest.fixture
def on_card(pack: object, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """``benchmarks.on_card`` with a small UNet as its only model, for one timed round."""
    from benchmarks import on_card

    toy = on_card.Architecture("SD15", UNET, "8 × 8", (4, 8, 8), (7, 16))
    monkeypatch.setattr(on_card, "ARCHITECTURES", {"toy": toy})
    monkeypatch.setattr(on_card, "ROUNDS_SECONDS", 0.0)
    return on_card


def test_every_way_runs_and_has_a_cell(on_card: ModuleType, tmp_path: Path) -> None:
    from benchmarks import gpu

    on_card.PARTS["sizes"](tmp_path)
    sizes = json.loads((tmp_path / gpu.FOUND).read_text(encoding="utf-8"))
    row = sizes["toy"]
    assert not row["failures"]
    assert [len(taken) for taken in row["seconds"].values()] == 8 * [1]
    row["peak"] = {way: 2**30 * count for count, way in enumerate(row["seconds"])}  # which a processor does not tell
    for table, columns in ((gpu.seconds_table, 9), (gpu.memory_table, 8), (gpu.outside_table, 9)):
        _, _, line = table(sizes).splitlines()
        assert line.startswith("| toy | ") and line.count("|") == columns + 1 and "–" not in line
    assert gpu.memory_table(sizes).endswith("| 1.00 | 2.00 | 3.00 | 4.00 | 5.00 | 6.00 | 7.00 |")


def test_a_way_that_fails_is_named_and_the_others_are_timed(
    on_card: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks import gpu

    def fails(*_: object) -> None:
        raise torch.cuda.OutOfMemoryError("no room")

    monkeypatch.setattr(on_card.JointGraph, "_predict", fails)
    on_card.PARTS["sizes"](tmp_path)
    row = json.loads((tmp_path / gpu.FOUND).read_text(encoding="utf-8"))["toy"]
    assert row["failures"] == {"guided, joint graph (peer)": "no room"} and len(row["seconds"]) == 7


def test_no_model_makes_empty_tables() -> None:
    from benchmarks import gpu

    assert [table({}).count("\n") for table in (gpu.seconds_table, gpu.memory_table, gpu.outside_table)] == [1, 1, 1]


def test_differences_from_float32_where_the_processor_was_too_slow(tmp_path: Path) -> None:
    import safetensors.torch

    from benchmarks import gpu

    rng = torch.Generator().manual_seed(0)
    plain, change, measured = (torch.randn(1, 4, 8, 8, generator=rng) for _ in range(3))
    for name, scale in (("float32", 1.0), ("bf16", 1.5)):
        folder = tmp_path / name
        folder.mkdir()
        tensors = {"KSampler": plain, "guiding": plain + change, "map of measuring": scale * measured}
        safetensors.torch.save_file(tensors, folder / gpu.TENSORS)
    found = gpu.differences(tmp_path, ["float32", "bf16", "a way that failed"])
    assert found["bf16"] == pytest.approx({"map": 0.5, "ranks": 1.0, "image": 0.0, "guidance": 1.0})
    assert set(found) == {"float32", "bf16"}
