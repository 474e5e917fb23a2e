"""The reference on a device, in every precision: ``make test-gpu`` runs this on a GPU with ViT-H at its full depth, the
suite on the CPU with two blocks on a small image. Each test names the wrong versions that it kills.

What only a GPU has is imitated where a CPU can: tensors on "meta" have a device of their own and mix with no other.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import oracles
from command_line import refused, run
from minisam.model.config import CONFIGS, SamConfig
from minisam.reference import build as build_reference
from minisam.sam import build
from minisam.verify import device as devices
from minisam.verify import page as parity
from minisam.verify import stages as verify
from minisam.verify.kernels import kernel_cases
from parity_reports import made
from small_models import SMALL, TWO_BLOCKS, small
from strategies import seeds

# wrong version → (file, text in it, its replacement); names are quoted from docstrings
MUTANTS = {
    "a comparison that leaves it on": (
        "minisam/verify/stages.py",
        "with devices.float32_products():",
        "with devices.float32_products(True):",
    ),
    "a prompt encoder in bfloat16": (
        "minisam/verify/device.py",
        "model.prompt_encoder.to(device, torch.float32)",
        "model.prompt_encoder.to(device, dtype)",
    ),
    "a budget that takes anything": (
        "minisam/verify/stages.py",
        "return 2 * roundings**0.5 * torch",
        "return 200 * roundings**0.5 * torch",
    ),
    "pixels at the threshold counted": ("minisam/verify/stages.py", "ious = iou(clear)", "ious = iou(True)"),
    "IoU of all masks together": (
        "minisam/verify/stages.py",
        "(mask.sum(axis=(2, 3)) for",
        "(mask.sum(axis=(1, 2, 3)) for",
    ),
    "0/0": ("minisam/verify/stages.py", "np.where(union == 0, 1.0,", "np.where(union == 0, 0.0,"),
    "a tensor made where the default is": ("minisam/reference/fast.py", ", device=like.device", ""),
    "``torch.arange`` without a device": ("minisam/reference/ops.py", ", device=rel_pos.device", ""),
    "views counted again": (
        "minisam/verify/device.py",
        """            self.live += size
""",
        """        self.live += size
""",
    ),
    "freed memory counted on": (
        "minisam/verify/device.py",
        """                self.live -= size
""",
        """                pass
""",
    ),
    "a peak that forgets": ("minisam/verify/device.py", "max(self.peak, self.live)", "self.live"),
    "inputs not counted": ("minisam/verify/device.py", "in inputs + results)", "in results)"),
    "TF32 left on after an error": (
        "minisam/verify/device.py",
        """    try:
        yield
    finally:
""",
        """    yield
    if True:
""",
    ),
    "on while verifying": ("minisam/verify/device.py", '"high" if tf32 else "highest"', '"high"'),
    "a time taken before the device is done": (
        "minisam/verify/stages.py",
        """        devices.synchronise(device)
    return result""",
        """        pass
    return result""",
    ),
    "with its libraries' start in it": (
        "minisam/verify/stages.py",
        """        function(*arguments)
        devices.synchronise(device)
""",
        """        devices.synchronise(device)
""",
    ),
}

DEVICE = torch.device(oracles.DEVICE)
ON_GPU = DEVICE.type == "cuda"
ROOT = Path(__file__).parents[2]


# ------------------------------------------------------------------------------------------------------- it matches


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", devices.DTYPES)
@torch.no_grad()
def test_every_stage_matches_in_every_precision(dtype):
    """Blocks, neck, prompts, tokens, masks, predicted IoU, in half precision within the budget. On the CPU two blocks
    of the tiny model with 8 × 8 tokens in windows of 5, which must be filled up."""
    config = CONFIGS["vit_h"] if ON_GPU else TWO_BLOCKS
    lines = list(verify.verify_model(build(config, seed=3), DEVICE, devices.DTYPES[dtype]))
    assert [str(line) for line in lines if not line.passed] == []
    assert sum("1 − mean IoU" in line.unit for line in lines) == (2 if dtype in ("bfloat16", "float16") else 0)


@pytest.mark.gpu
@torch.no_grad()
def test_kernels_match_at_the_sizes_of_the_model():
    """verify's own cases. The properties, with ``oracle`` on the same device, are in each kernel's file."""
    lines = list(verify.verify_kernels(DEVICE, seed=0))
    assert len(lines) > 40 and [str(line) for line in lines if not line.passed] == []


@torch.no_grad()
def test_no_stage_is_rounded_to_tf32(monkeypatch):
    """torch's default rounds the inputs of float32 convolutions on a GPU. Kills: a comparison that leaves it on."""
    seen = []
    original = verify.compare

    def compare(*given):
        seen.append(torch.backends.cudnn.allow_tf32)
        return original(*given)

    monkeypatch.setattr(verify, "compare", compare)
    before = torch.backends.cudnn.allow_tf32
    lines = list(verify.verify_model(build(TWO_BLOCKS, seed=3), torch.device("cpu"), torch.float32))
    assert lines and seen and not any(seen) and torch.backends.cudnn.allow_tf32 == before


@pytest.mark.gpu
@torch.no_grad()
def test_half_precision_leaves_places_alone():
    """Kills: a prompt encoder in bfloat16, where 100 pixels of 1024 are 96 or 104 and their waves others."""
    sam = build(small("tiny", image_size=1024, patch_size=128, window_size=4), seed=1)
    points = (np.array([[[1001.0, 517.0]]]), np.array([[1]]))
    half = devices.load(sam, DEVICE, torch.bfloat16)
    sparse = devices.embed_prompt(half, points)[0].cpu().numpy()
    np.testing.assert_allclose(sparse, sam.prompt_encoder(points)[0], atol=1e-4)
    wrong = half.prompt_encoder.bfloat16()(tuple(devices.tensor(p, DEVICE, torch.bfloat16) for p in points))[0]
    assert np.abs(wrong.float().cpu().numpy() - sparse).max() > 0.05


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@torch.no_grad()
def test_the_budget_sees_a_mistake(dtype, monkeypatch):
    """Kills: a budget that takes anything. A tenth more in one layer is beyond it from that block on."""
    sam = build(small("tiny", image_size=80, window_size=5), seed=5)
    reference = devices.load(sam, torch.device("cpu"), dtype)
    reference.image_encoder.blocks[1].mlp.lin2.weight *= 1.1
    image = verify.random_picture(sam, np.random.default_rng(0), False)
    found = verify.verify_encoder(sam, reference, image, torch.device("cpu"))
    lines = [x.passed for x in found if isinstance(x, verify.Line)]
    assert lines == [True, True, False, False, False]


@given(st.integers(1, 3), st.integers(1, 3), seeds, st.sampled_from([0.0, 1e-3, 0.3]))
def test_masks_are_compared_by_hand(batch, masks, seed, noise):
    """Against loops over masks and pixels. Kills: pixels at the threshold counted, IoU of all masks together, 0/0."""
    rng = np.random.default_rng(seed)
    logits = rng.standard_normal((batch, masks, 4, 5)).astype(np.float32)
    logits[0, 0] = -1.0  # an empty mask in both
    rounded = torch.from_numpy(logits + noise * rng.standard_normal(logits.shape)).bfloat16()
    rounded[0, 0] = -1.0
    scores = []
    for ours, theirs in zip(logits, rounded.float().numpy()):
        limit = np.abs(ours).max() / 256
        for a, b in zip(ours, theirs):
            pixels = [(x > 0, y > 0) for x, y in zip(a.flat, b.flat) if abs(x) > limit]
            either = sum(x or y for x, y in pixels)
            scores.append(sum(x and y for x, y in pixels) / either if either else 1.0)
    line = verify.compare_masks("", [(logits[i : i + 1], rounded[i : i + 1]) for i in range(batch)])
    assert line.error == pytest.approx(1 - np.mean(scores), abs=1e-12)
    assert f"worst {min(scores):.4f}" in line.note


def test_lines_are_json_without_nan():
    line = verify.Line("part: stage", "(1,)", float("nan"), 0.0, 1.0, "relative", 0.0, 0.0)
    assert not line.passed and json.loads(json.dumps(line.as_dict(), allow_nan=False))["error"] is None


# ------------------------------------------------------------------------------------------------ devices and memory


@torch.no_grad()
def test_nothing_is_made_on_another_device():
    """The whole model on a device that mixes with no other. Kills: a tensor made where the default is."""
    for fast in (False, True):
        model = build_reference(SMALL, fast).to("meta")
        features = model.image_encoder(torch.empty(2, 64, 64, 3, device="meta"))
        points = torch.empty(3, 1, 2, device="meta"), torch.empty(3, 1, device="meta")
        boxes, masks = torch.empty(3, 4, device="meta"), torch.empty(3, 1, 32, 32, device="meta")
        for prompt in ((points,), (None, boxes), (points, boxes, masks), (None, None, masks)):
            embedded = (*model.prompt_encoder(*prompt), model.prompt_encoder.get_dense_pe())
            logits, iou = devices.decode(model, features[:1], embedded)
            assert (logits.shape, iou.shape, logits.device.type) == ((3, 4, 32, 32), (3, 4), "meta")


@pytest.mark.slow
def test_oracles_stay_on_their_device():
    """The same for the oracles, with all that they make on the way (an index may lie elsewhere and do no harm on meta),
    but those whose shapes depend on values. Kills: ``torch.arange`` without a device."""
    looking = ("box_from_mask", "rle", "nms", "mask_runs")
    for case in kernel_cases(np.random.default_rng(0)):
        if not case.name.startswith(looking):
            arguments = [devices.tensor(a, "meta") for a in case.arguments]
            with Places() as places:
                case.oracle(*arguments)
            assert places.seen == {"meta"}, case.name


class Places(TorchDispatchMode):
    """The devices of all results of operations."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.seen |= {x.device.type for x in tree_leaves(out) if isinstance(x, torch.Tensor)}
        return out


@given(st.lists(st.integers(1, 50), min_size=1, max_size=6))
def test_count_is_what_is_held_and_moved(sizes):
    """By hand. Kills: views counted again, freed memory counted on, a peak that forgets, inputs not counted."""
    with torch.device("meta"):
        a = torch.empty(10, 7)
        with devices.Count() as counted:
            most = 0
            for n in sizes:
                b = torch.empty(7, n)
                c = a @ b
                d = c.T[:1]  # a view
                most = max(most, 4 * (7 * n + 10 * n))
                assert counted.live == 4 * (7 * n + 10 * n), d.shape
                del b, c, d
                assert counted.live == 0
    assert counted.peak == most
    assert counted.traffic == sum(4 * (70 + 7 * n + 10 * n) for n in sizes)


def test_memory_by_hand():
    """ViT-H: 641 million weights, and beside them at least the plain form's 16 · 4096² biases and as many scores."""
    config = CONFIGS["vit_h"]
    weights = devices.weight_bytes(config, 4)
    assert weights == 4 * sum(p.numel() for p in meta(config).state_dict().values())
    plain = devices.encoder_bytes(config, torch.float32)
    assert 2 * 16 * 4096**2 * 4 < plain - weights < 5 * 16 * 4096**2 * 4
    assert devices.encoder_bytes(config, torch.float32, fast=True) < plain
    assert devices.encoder_bytes(config, torch.float64) == 2 * plain


@settings(max_examples=6)
@given(st.integers(1, 3), st.integers(1, 4))
def test_memory_grows(depth, batch):
    config = dataclasses.replace(SMALL, encoder_depth=depth, encoder_global_attn_indexes=(depth - 1,))
    more = dataclasses.replace(config, encoder_depth=depth + 1, encoder_global_attn_indexes=(depth,))
    here = devices.encoder_bytes(config, torch.float32, batch)
    assert here < devices.encoder_bytes(config, torch.float32, batch + 1)
    assert here < devices.encoder_bytes(more, torch.float32, batch)


def meta(config: SamConfig) -> torch.nn.Module:
    with torch.device("meta"):
        return build_reference(config)


@pytest.fixture
def nothing_loads(tmp_path, monkeypatch):
    """A folder; and building random weights, which comes after all checks, is an error."""
    monkeypatch.chdir(tmp_path)

    def loads(*arguments):
        raise AssertionError("weights were made before the arguments were checked")

    monkeypatch.setattr("minisam.sam.random_state", loads)
    return monkeypatch


def test_no_gpu_is_said_before_anything_loads(nothing_loads, capsys):
    nothing_loads.setattr(torch.cuda, "is_available", lambda: False)
    for command in ("verify", "bench"):
        said = refused(capsys, command, "--model", "vit_h", "--device", "cuda")
        assert "expected a GPU for --device cuda, got none that torch can use" in said
        said = refused(capsys, command, "--model", "vit_h", "--device", "tpu")
        assert "expected a device among cpu, cuda, got 'tpu'" in said
    said = refused(capsys, "verify", "--model", "vit_h", "--dtype", "half")
    assert "expected a dtype among float64, float32, bfloat16, float16, got 'half'" in said


def test_too_little_memory_is_said_before_anything_loads(nothing_loads, capsys):
    """On the CPU, and on a card that torch says is there."""
    nothing_loads.setattr(devices, "available_bytes", lambda: 3e9)
    said = refused(capsys, "verify", "--model", "vit_h", "--dtype", "float32")
    needed = 1.2 * (devices.encoder_bytes(CONFIGS["vit_h"], torch.float32) + devices.weight_bytes(CONFIGS["vit_h"], 4))
    assert f"expected {needed / 1e9:.1f} GB of free memory on the cpu for vit_h (32 blocks, float32)" in said
    assert "got 3.0 GB" in said
    nothing_loads.setattr(torch.cuda, "is_available", lambda: True)
    nothing_loads.setattr(torch.cuda, "mem_get_info", lambda device: (2e9, 4e9))
    for command, dtype in (("verify", "bfloat16"), ("bench", "float32")):
        chosen = ["--dtype", dtype] if command == "verify" else []
        said = refused(capsys, command, "--model", "vit_h", "--device", "cuda", *chosen)
        needed = 1.2 * devices.encoder_bytes(CONFIGS["vit_h"], devices.DTYPES[dtype])
        assert f"expected {needed / 1e9:.1f} GB of free memory on the cuda" in said and "got 2.0 GB" in said


@pytest.mark.parametrize("tf32", [False, True])
def test_precision_of_products_is_put_back(tf32):
    """Kills: TF32 left on after an error, or on while verifying."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    with pytest.raises(KeyError), devices.float32_products(tf32):
        assert torch.get_float32_matmul_precision() == ("high" if tf32 else "highest")
        assert torch.backends.cudnn.allow_tf32 is tf32
        raise KeyError
    assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == before


def test_a_gpu_is_waited_for(monkeypatch):
    """Kills: a time taken before the device is done, or with its libraries' start in it."""
    calls = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: calls.append("wait"))
    assert verify.timed(lambda: calls.append("work"), device=torch.device("cuda"))[1] >= 0
    assert calls == ["work", "wait", "work", "wait"]
    verify.timed(lambda: calls.append("work"), device=torch.device("cpu"))
    assert calls[4:] == ["work"]


def test_a_card_is_named_in_the_report(monkeypatch):
    card = SimpleNamespace(name="A card", total_memory=80e9)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: card)
    about = devices.describe(torch.device("cuda"))
    assert (about["type"], about["name"], about["memory_gb"]) == ("cuda", "A card", 80.0)
    assert set(devices.describe(torch.device("cpu"))) == {"type", "torch"}


# ----------------------------------------------------------------------------------------------------------- reports


def test_verify_writes_what_it_found(tmp_path, monkeypatch, capsys):
    """JSON, page, and the page of a folder, from a whole run with one block."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(verify, "kernel_cases", lambda rng: list(kernel_cases(rng))[:2])
    monkeypatch.setattr("minisam.console.shallow", lambda config, depth: TWO_BLOCKS)
    Path("all").mkdir()
    outputs = ["--json", "r.json", "--markdown", "r.md", "--report", "all"]
    code, out, _ = run(capsys, "verify", "--depth", "1", "--dtype", "bfloat16", *outputs)
    found = json.loads(Path("r.json").read_text())
    assert code == 0 and f"{len(found['lines'])} of {len(found['lines'])} within tolerance" in out
    assert found["command"] == "minisam verify --model tiny --device cpu --dtype bfloat16 --depth 1"
    assert {"commit", "processor"} <= set(found["environment"]) and found["versions"]["torch"]
    assert json.loads(Path("all/tiny-bfloat16.json").read_text()) == found
    assert Path("r.md").read_text() == Path("all/README.md").read_text() == parity.page([found])
    Path("all/README.md").unlink()
    assert run(capsys, "verify", "--redraw", "--report", "all")[0] == 0 and Path("all/README.md").exists()
    Path("all/other.json").write_text('{"schema": 1}')
    assert "expected a report of minisam verify, got all/other.json" in refused(capsys, "verify", "--report", "all")


def test_the_page_of_the_textbook_is_that_of_the_reports():
    """Kills: a figure changed by hand, a report without its place on the page, a chapter that shows another file."""
    folder = ROOT / "benchmarks" / "cpu" / "parity"
    found = parity.read_folder(folder) if any(folder.glob("*.json")) else []
    assert (folder / "README.md").read_text() == parity.page(found)
    assert "```{include} ../benchmarks/cpu/parity/README.md" in (ROOT / "chapters" / "parity.md").read_text()
    assert "no report yet" in parity.page([]) and "no report yet" not in parity.page([made("tiny", "float32")])


def test_the_page_says_what_failed():
    page = parity.page([made("vit_b", "float32")])
    assert "| kernel | 2 | 2 | linear | 25.0% |" in page and "**" not in page
    assert "abc" in page and "2 cores" in page
    for error in (9.0, None):
        page = parity.page([made("vit_b", "float32", linear=error, copy=0.0)])
        assert "| kernel | 2 | **1** | linear | **exceeded** |" in page
        assert f"| **{'not a number' if error is None else '9'}** |" in page


@given(st.sets(st.tuples(st.sampled_from([*CONFIGS, "mine"]), st.sampled_from(list(devices.DTYPES))), min_size=1))
def test_any_reports_make_a_page(tmp_path_factory, chosen):
    """Whichever exist: largest model first, most exact first, each once."""
    folder = tmp_path_factory.mktemp("reports")
    for name, dtype in chosen:
        (folder / f"{name}-{dtype}.json").write_text(json.dumps(made(name, dtype)))
    found = [(r["model"]["name"], r["dtype"]) for r in parity.read_folder(folder)]
    models = [*parity.ORDER, "mine"]
    assert found == sorted(chosen, key=lambda key: (models.index(key[0]), parity.DTYPES.index(key[1])))
    page = parity.page(parity.read_folder(folder))
    assert page.count("\n## ") == len(chosen) and page.count("<details>") == page.count("</details>")
