"""The Triton kernel beside the plain attention: in Triton's interpreter where there is no GPU, else compiled."""

from __future__ import annotations

import pytest
import torch

from minisam.reference import ops

tiled = pytest.importorskip("minisam.reference.tiled", reason="no Triton, which comes with torch for a GPU")

SHAPES = [
    (1, 8, 8, 2, 16),
    (2, 6, 6, 1, 80),
    (1, 14, 14, 2, 80),
    (2, 5, 7, 3, 16),
    (1, 20, 20, 2, 80),
    (1, 64, 64, 1, 80),
]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that torch can use")
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_kernel_is_the_attention(shape, dtype):
    """Kills: rows and columns exchanged, a tile's end not masked, a distance off by one, log₂ e forgotten."""
    torch.manual_seed(0)
    B, H, W, heads, D = shape
    qkv, down, right = torch.randn(B, H, W, 3 * heads * D), torch.randn(2 * H - 1, D), torch.randn(2 * W - 1, D)
    qkv, down, right = (x.to("cuda", dtype) for x in (qkv, down * 0.3, right * 0.3))
    truth = ops.attention(qkv.double(), heads, down.double(), right.double())
    found = tiled.attention(qkv, heads, down, right)
    assert found.dtype == dtype
    error = (found.double() - truth).norm() / truth.norm()
    assert error < (2e-3 if dtype == torch.float16 else 1e-2)
    other = ops.attention(qkv.double(), heads, right[: 2 * H - 1].double(), right.double()) if H == W else truth
    assert H != W or (other - truth).norm() > 10 * (found.double() - truth).norm(), "the positions have a say"
