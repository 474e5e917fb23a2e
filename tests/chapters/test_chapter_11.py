"""Chapter 11: its exercises, its figures, and what its text says."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

import chapter
import minisam
from minisam.benchmark import flops
from minisam.exercises import verdict
from minisam.model.config import CONFIGS
from minisam_kernels import InputError

pytest.importorskip("ipywidgets")
pytest.importorskip("matplotlib")
from minisam.figures import amortised, profile, roofline
from minisam.figures.shared import bench_data

# wrong version → (file, text in it, its replacement); names are quoted from docstrings
MUTANTS = {
    "a tie that counts": (
        "minisam/figures/amortised.py",
        "math.floor(round(encode / (whole - decode), 6)) + 1",
        "max(1, math.ceil(round(encode / (whole - decode), 6)))",
    ),
    "one too many": ("minisam/figures/amortised.py", "6)) + 1 ", "6)) + 2 "),
    "windowed and global blocks mixed up": (
        "minisam/figures/profile.py",
        'if kind == "global" else',
        'if kind != "global" else',
    ),
    "a stage left out": (
        "minisam/figures/profile.py",
        """    counts["neck · conv2d"] = part["neck"]
""",
        "",
    ),
}

SOLUTIONS = chapter.solutions(11)
CLOCK = amortised.Clock("a clock", 4.0, 0.5)


@pytest.mark.parametrize("number", ["11.1", "11.2", "11.3", "11.4"])
def test_solutions_pass(number: str) -> None:
    printed = chapter.printed(SOLUTIONS[number])
    assert f"✓ {number}" in printed and "✗" not in printed


def sigma(length: Any, cross: Any, gram: Any, scale: Any, features: Any, C: Any, eps: Any, **wrong: Any) -> Any:
    square = scale ** wrong.get("power", 2) * length + wrong.get("twice", 2) * scale * (features * cross).sum(axis=0)
    square = square + (features * (gram @ features)).sum(axis=0)
    return np.sqrt(square / C + eps)


WRONG = {
    "ties count as cheaper": ("11.1", lambda E, d, m: None if m <= d else max(1, -(-E // (m - d))), "not cheaper yet"),
    "forgets None": ("11.1", lambda E, d, m: int(E // max(m - d, 1e-9)) + 1, "None"),
    "forgets that prompts cost": ("11.1", lambda E, d, m: None if m <= d else E // m + 1, "whole N"),
    "keys of one head": ("11.2", lambda N, T, C, h, D: (N * C * D + T * N * h * D, 0, 0), "all h heads"),
    "scores of width D after all": (
        "11.2",
        lambda N, T, C, h, D: (N * C * h * D + T * N * h * D, T * h * D * C + T * h * N * D, 0),
        "goes back to C",
    ),
    "projects again": (
        "11.2",
        lambda N, T, C, h, D: 2 * (N * C * h * D + T * N * h * D,) + (0,),
        "Queries first",
    ),
    "one count": ("11.2", lambda N, T, C, h, D: N, "three counts"),
    "whole windows too": ("11.3", lambda H, W, w: ((w - H % w) * W + (w - W % w) * H, 0), "whole windows"),
    "corner forgotten": ("11.3", lambda H, W, w: (-H % w * W + -W % w * H, 0), "whole windows"),
    "all windows": (
        "11.3",
        lambda H, W, w: (-(-H // w) * w * -(-W // w) * w - H * W, -(-H // w) * -(-W // w)),
        "wholly in the image",
    ),
    "no eps": ("11.4", lambda *a: sigma(*a[:-1], 0), "ε is missing"),
    "variance": ("11.4", lambda *a: sigma(*a) ** 2, "That is σ²"),
    "mixed term once": ("11.4", lambda *a: sigma(*a, twice=1), "the middle one twice"),
    "returns nothing": ("11.4", lambda *a: None, "return"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_answers_get_a_hint(name: str) -> None:
    number, answer, word = WRONG[name]
    assert word in verdict(number, answer)


# ---- figures ---------------------------------------------------------------------------------------------


def test_break_even_is_the_first_cheaper_number() -> None:
    """Kills: a tie that counts, one too many."""
    for encode, decode, whole in [(10, 1, 2), (4, 0.5, 0.9), (0, 1, 2), (3, 1, 7)]:
        n = amortised.break_even(encode, decode, whole)
        assert n is not None and encode + n * decode < n * whole
        assert n == 1 or encode + (n - 1) * decode >= (n - 1) * whole
    assert amortised.break_even(1, 2, 2) is None
    assert amortised.break_even(125, 7.61, 125 / 10 + 7.61) == 11, "ten cost as much: rounding is no gain"


def test_amortised_says_its_numbers() -> None:
    state = amortised.draw(CLOCK, 8)
    assert "8 prompts: 8 s in all, 1 s each" in state.words  # 4 + 8 · ½
    assert "4.5 s each, 4.5 times as much" in state.words  # 8 · 4.5 / 8
    assert "from 11 prompts on" in state.words  # at 10 it is a tie: 4 + 5 = 10 · (.4 + .5)


def test_amortised_builds_with_a_small_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(amortised, "measured", lambda *_: CLOCK)
    monkeypatch.setattr(amortised, "from_benchmark", lambda name: None)
    widget = amortised.amortised(minisam.load("tiny"), np.zeros((9, 9, 3), np.uint8), prompts=(1, 8))
    assert "Guess first" in widget.children[0].value
    with pytest.raises(InputError, match="at least 1"):
        amortised.amortised(prompts=(0,))


def test_measured_clock_is_of_the_two_parts() -> None:
    """The encoder's part takes longer than the decoder's: the order is not mixed up."""
    image = np.zeros((60, 80, 3), np.uint8)
    clock = amortised.measured(minisam.load("tiny"), image, repeats=(1, 3))
    assert clock.encode > clock.decode > 0


def test_committed_reads_what_the_benchmark_wrote(tmp_path: Any) -> None:
    rows = [{"name": "encode", "results": {"minisam": {"median": 2.0}, "onnxruntime": {"failed": "no memory"}}}]
    profile = [{"title": "encode an image", "stages": [{"name": "neck", "seconds": 0.5, "calls": 1}]}]
    found = {"workloads": rows, "profile": profile, "threads": 2, "blas_peak": {"2": {"minisam": 99.0}}}
    (tmp_path / "tiny.json").write_text(json.dumps(found))
    read = bench_data.report("tiny", tmp_path)
    assert bench_data.seconds(read, "encode") == 2 and bench_data.seconds(read, "encode", "onnxruntime") is None
    assert bench_data.seconds(read, "prompts-1") is None and bench_data.stages(read, "one prompt") is None
    assert bench_data.stages(read, "encode") == [("neck", 0.5)] and bench_data.peak(read) == 99
    (tmp_path / "vit_b.json").write_text("{")
    for name in ("vit_b", "vit_h"):
        missing = bench_data.report(name, tmp_path)
        assert missing is None and bench_data.seconds(missing, "encode") is None and bench_data.peak(missing) is None
        assert bench_data.stages(missing, "encode") is None


@pytest.mark.parametrize("name", CONFIGS)
def test_operations_by_stage_are_those_of_the_encoder(name: str) -> None:
    """Kills: windowed and global blocks mixed up, a stage left out."""
    counted = profile.operations(CONFIGS[name])
    assert sum(counted.values()) == sum(flops.encoder(CONFIGS[name]).values())
    if name != "tiny":
        assert counted["global blocks · attention"] > counted["windowed blocks · attention"]
        assert counted["windowed blocks · proj"] == 2 * counted["global blocks · proj"] or name != "vit_b"


def test_where_shows_shares_that_add_up() -> None:
    stages = [("a · mlp", 3.0), ("a · attention", 1.0), ("b", 0.5), ("the rest", 0.5)]
    assert profile.largest(stages, rows=3) == [("a · mlp", 3.0), ("a · attention", 1.0), ("2 smaller stages", 1.0)]
    assert profile.parts(stages) == [("a", 4.0), ("b", 0.5), ("the rest", 0.5)]
    found = profile.Profile("a clock", [("neck · conv2d", 3.0), ("the rest", 1.0)], CONFIGS["tiny"], 10.0)
    words = profile.draw(found, "encode").words
    rate = profile.operations(CONFIGS["tiny"])["neck · conv2d"] / 3e9
    assert "encode an image: 4 s" in words and f"neck · conv2d 3 s, 75% · {rate:.0f} GFLOP/s" in words
    total = sum(flops.encoder(CONFIGS["tiny"]).values()) / 4e9
    assert f"{total:.0f} GFLOP/s, {total / 10:.0%} of the 10 GFLOP/s" in words
    words = profile.draw(dataclasses.replace(found, peak=None), "one prompt").words
    assert "neck 3 s, 75%" in words and "matrix products reach" not in words


def test_where_builds_and_its_stages_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    sam, image = minisam.load("tiny"), np.zeros((40, 60, 3), np.uint8)
    found = profile.measure(sam, image, "encode", "here", 1.0, times=1)
    assert {"windowed blocks · norm2 and mlp", "global blocks · attention"} <= {name for name, _ in found.stages}
    monkeypatch.setattr(profile, "measure", lambda *_: found)
    monkeypatch.setattr(profile, "from_benchmark", lambda *_: None)
    assert "Guess first" in profile.profile(sam, image).children[0].value
    with pytest.raises(InputError, match=r"\(H, W, 3\)"):
        profile.profile(sam, image[..., 0])


def test_roofline_counts_and_measures() -> None:
    assert roofline.intensity(1, 2048) == pytest.approx(0.5, rel=1e-2)  # n / 2 for few rows
    assert roofline.intensity(2048, 2048) == pytest.approx(2048 / 6)
    found = roofline.measure((1, 4), width=64, times=1)
    assert len(found.rates) == 2 and found.peak >= max(found.rates) and found.bandwidth > 0
    fixed = roofline.Measured((1, 512), 2048, (4.0, 60.0), 80.0, 10.0)
    assert fixed.roof(2.0) == 20 and fixed.roof(100.0) == 80
    few, many = roofline.draw(fixed, 0).words, roofline.draw(fixed, 1).words
    assert "5 GFLOP/s, set by memory; measured 4 GFLOP/s" in few and "80 GFLOP/s, set by arithmetic" in many
    assert "Guess first" in roofline.roofline((1, 2), 32).children[0].value
    with pytest.raises(InputError, match="at least 1"):
        roofline.measure((0,))


# ---- what the text says ----------------------------------------------------------------------------------


def test_statements_of_the_text() -> None:
    parts = {name: flops.encoder(config) for name, config in CONFIGS.items()}
    assert 64 // 14 == 4 and 70 == 5 * 14 and 70**2 - 64**2 == 804
    assert parts["vit_b"]["mlp"] > parts["vit_b"]["attention"]
    N, C, h, D = 4096, 256, 8, 16
    keys_first, queries_first = N * C * h * D + 7 * N * h * D, 7 * h * D * C + 7 * h * N * C
    assert queries_first < keys_first / 2, "with a third to a half of the multiplications"
    assert h * (7 - 1) + 1 == 49
