"""The reference's fast attention is its plain one, and holds no bias. Each test names the wrong versions it kills."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from minisam.model.config import get_config
from minisam.reference import build, fast, ops

# wrong version → (file, text in it, its replacement); names are quoted from docstrings
MUTANTS = {
    "a bias from the scaled query": (
        "minisam/reference/fast.py",
        "[q * D**-0.5, bias, zeros]",
        "[q * D**-0.5, bias * D**-0.5, zeros]",
    ),
    "rows and columns exchanged": (
        "minisam/reference/fast.py",
        "torch.cat([rows, columns], dim=2)",
        "torch.cat([columns, rows], dim=2)",
    ),
    "scale left to the long vectors": ("minisam/reference/fast.py", ", scale=1.0)", ")"),
    "v not cut": ("minisam/reference/fast.py", "scale=1.0)[..., :D]", "scale=1.0)"),
    "rows and columns of a key exchanged": (
        "minisam/reference/fast.py",
        "down[b, head, i, j // W] + right[b, head, i, j % W]",
        "down[b, head, i, j % H] + right[b, head, i, j // H]",
    ),
    "a bias of another head or query": (
        "minisam/reference/fast.py",
        "down[b, head, i, j // W]",
        "down[b, 0 * head, i, j // W]",
    ),
    "one that is scaled": (
        "minisam/reference/fast.py",
        "score + down[b, head, i, j // W]",
        "score + q.shape[-1] ** -0.5 * down[b, head, i, j // W]",
    ),
    "a table without a gradient": ("minisam/reference/fast.py", "rel_w.to(q.dtype))", "rel_w.to(q.dtype).detach())"),
    "a scale or a bias left out of it": (
        "minisam/reference/fast.py",
        "F.softmax(long_q @ long_k.transpose",
        "F.softmax(long_q[..., :D] @ long_k[..., :D].transpose",
    ),
    "a block left out": (
        "minisam/reference/fast.py",
        """            module.attend = attend
""",
        """            module.attend = attend
            break
""",
    ),
}


class Largest(TorchDispatchMode):
    """The most numbers that any result of an operation has."""

    numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for value in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(value, torch.Tensor):
                self.numbers = max(self.numbers, value.numel())
        return out


@st.composite
def inputs(draw: st.DrawFn, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, int, torch.Tensor, torch.Tensor]:
    torch.manual_seed(draw(st.integers(0, 2**31)))
    B, H, W, heads, D = (draw(st.integers(1, n)) for n in (3, 6, 6, 3, 9))
    tables = (torch.randn(draw(st.sampled_from([2 * n - 1, 3, 9])), D, dtype=dtype) for n in (H, W))
    return torch.randn(B, H, W, 3 * heads * D, dtype=dtype), heads, *tables


@given(inputs())
def test_fast_is_plain(drawn: tuple[Any, ...]) -> None:
    """Kills: a bias from the scaled query, rows and columns exchanged, scale left to the long vectors, v not cut."""
    torch.testing.assert_close(fast.attention(*drawn), ops.attention(*drawn), rtol=1e-10, atol=1e-10)


@given(inputs())
@settings(max_examples=10)
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_flex_is_plain(drawn: tuple[Any, ...]) -> None:
    """Kills: rows and columns of a key exchanged, a bias of another head or query, one that is scaled."""
    torch.testing.assert_close(fast.flex_attention(*drawn), ops.attention(*drawn), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(fast.flex_attention(*drawn[:2]), ops.attention(*drawn[:2]))


@given(inputs())
def test_the_same_gradients(drawn: tuple[Any, ...]) -> None:
    """Backwards a CPU takes another way. Kills: a table without a gradient, a scale or a bias left out of it."""
    found = []
    for attend in (ops.attention, fast.attention):
        leaves = [x.clone().requires_grad_() for x in (drawn[0], *drawn[2:])]
        y = attend(leaves[0], drawn[1], *leaves[1:])
        weights = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)
        found.append([y, *torch.autograd.grad((y * weights).sum(), leaves)])
    torch.testing.assert_close(found[1], found[0], rtol=1e-9, atol=1e-9)


def test_no_tables_no_bias() -> None:
    qkv = torch.randn(1, 2, 3, 12)
    torch.testing.assert_close(fast.attention(qkv, 2), ops.attention(qkv, 2))


def test_fast_holds_no_bias() -> None:
    """32 × 32 tokens, one head: the plain form makes N² numbers, the fast one nothing near it."""
    qkv, tables = torch.randn(1, 32, 32, 3 * 16), torch.randn(2, 63, 16)
    most = {}
    for attend in (ops.attention, fast.attention):
        with Largest() as largest, torch.no_grad():
            attend(qkv, 1, *tables)
        most[attend] = largest.numbers
    assert most[ops.attention] >= 1024**2
    assert most[fast.attention] <= 1024 * (3 * 80)


@pytest.mark.parametrize("name", ["tiny", "vit_h"])
def test_a_whole_encoder(name: str) -> None:
    """Windows that need filling and global blocks; the same keys, so the same weights fit. Kills: a block left out."""
    config = dataclasses.replace(
        get_config(name), image_size=48 if name == "tiny" else 112, encoder_depth=2, encoder_global_attn_indexes=(1,),
        window_size=4,
    )  # fmt: skip
    torch.manual_seed(0)
    plain, quick = build(config).double().eval(), build(config, fast=True).double().eval()
    for parameter in plain.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    quick.load_state_dict(plain.state_dict())
    assert all(block.attn.attend is fast.attention for block in quick.image_encoder.blocks)
    image = torch.randn(1, config.image_size, config.image_size, 3, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(quick.image_encoder(image), plain.image_encoder(image), rtol=1e-9, atol=1e-9)


def test_half_precision_stays_near() -> None:
    """bfloat16 products round to 8 bits: the result stays within 3 % of the largest number, in both forms."""
    qkv, tables = torch.randn(1, 16, 16, 3 * 32), torch.randn(2, 31, 16) * 0.2
    exact = ops.attention(qkv.double(), 2, *tables.double())
    for attend in (ops.attention, fast.attention):
        rough = attend(qkv.bfloat16(), 2, *tables.bfloat16()).double()
        assert (rough - exact).abs().max() <= 0.03 * exact.abs().max()
