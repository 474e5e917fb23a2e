"""The Triton kernel beside the plain attention: compiled on a GPU; elsewhere in Triton's interpreter, which has to be
chosen before Triton is imported, so in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from minisam.reference import fast, ops

pytest.importorskip("triton", reason="no Triton: it is for Linux on x86-64, and comes with torch for a GPU")

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
HERE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
runs = pytest.mark.skipif(HERE.type == "cpu" and not INTERPRETED, reason="run interpreted by the file's last test")
BOUND = {torch.float16: 2e-3, **({torch.bfloat16: 1.5e-2} if HERE.type == "cuda" else {})}  # interpreted it has none

SHAPES = [  # B, H, W, heads, D
    (1, 8, 8, 2, 16),
    (2, 6, 6, 1, 80),  # two widths of a head
    (2, 14, 14, 2, 80),  # the windows of ViT-H
    (2, 5, 7, 3, 16),
    (1, 20, 20, 2, 80),  # a tile of two rows of 32, the last columns empty
    (1, 6, 16, 1, 16),  # the last rows of a tile empty, no column
    (1, 40, 8, 1, 64),  # more rows than columns
    (1, 70, 8, 1, 64),  # and more than a tile's
    (2, 3, 64, 2, 80),  # a row a tile, as in the global layers
    *([(1, 64, 64, 2, 80)] if HERE.type == "cuda" else []),
]


def made(shape, dtype):
    """qkv and both tables, and the plain attention of them in float64."""
    torch.manual_seed(sum(shape))
    B, H, W, heads, D = shape
    made = (torch.randn(B, H, W, 3 * heads * D), 0.3 * torch.randn(2 * H - 1, D), 0.3 * torch.randn(2 * W - 1, D))
    qkv, down, right = (x.to(HERE, dtype) for x in made)
    return (qkv, heads, down, right), ops.attention(qkv.double(), heads, down.double(), right.double())


@pytest.mark.gpu
@runs
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", BOUND)
@torch.no_grad()
def test_the_kernel_is_the_attention(shape, dtype, monkeypatch):
    """Kills: rows and columns exchanged, a tile's end not masked, a distance off by one, log₂ e forgotten."""
    from minisam.reference import tiled

    monkeypatch.setattr(fast, "attention", None)  # not by another way
    inputs, truth = made(shape, dtype)
    found = tiled.attention(*inputs)
    assert found.dtype == dtype and found.shape == truth.shape
    assert (found.double() - truth).norm() < BOUND[dtype] * truth.norm()
    qkv, heads, down, right = inputs
    for tables in ((down.flip(0), right), (down, right.flip(0))):
        assert (ops.attention(qkv, heads, *tables).double() - truth).norm() > 0.05 * truth.norm()


@pytest.mark.gpu
@runs
def test_what_the_kernel_leaves_to_others():
    """float32, a width of 24, tables of another size, long rows, a gradient: as ``fast.attention`` has it."""
    from minisam.reference import tiled

    half = torch.float16
    for shape, dtype, length in (
        ((1, 4, 4, 1, 16), torch.float32, 7),
        ((1, 4, 4, 1, 24), half, 7),
        ((1, 4, 4, 1, 16), half, 9),
        ((1, 2, 65, 1, 16), half, 3),
    ):
        B, H, W, heads, D = shape
        qkv, down = torch.randn(B, H, W, 3 * heads * D).to(HERE, dtype), torch.randn(length, D).to(HERE, dtype)
        right = torch.randn(2 * W - 1, D).to(HERE, dtype)
        torch.testing.assert_close(
            tiled.attention(qkv, heads, down, right), fast.attention(qkv, heads, down, right), rtol=0, atol=0
        )
    qkv = torch.randn(1, 4, 4, 48, device=HERE, dtype=half, requires_grad=True)
    tiled.attention(qkv, 1, *torch.randn(2, 7, 16, device=HERE, dtype=half)).sum().backward()
    assert qkv.grad is not None and qkv.grad.abs().sum() > 0
    down, right = torch.randn(2, 7, 16, device=HERE, dtype=half)
    assert tiled.attention(qkv.detach(), 1, down.requires_grad_(), right).requires_grad, "a table that learns"


@pytest.mark.slow
@pytest.mark.skipif(HERE.type == "cuda" or INTERPRETED, reason="the tests above run here")
def test_the_kernel_interpreted():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    done = subprocess.run(command, env=environment, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
    assert f"{len(SHAPES) + 1} passed" in done.stdout, done.stdout[-500:]
