"""The simulated annotator in torch, for a batch of masks at once."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given

from minisam.training import prompts
from small_trainings import blobs
from strategies import seeds

# wrong version → (file, text in it, its replacement)
MUTANTS = {
    "a point at (row, column)": (
        "minisam/training/prompts.py",
        "torch.cat([column, row], dim=1)",
        "torch.cat([row, column], dim=1)",
    ),
    "noise without a limit": (
        "minisam/training/prompts.py",
        "(noise * 0.1 * sides).clamp(-limit, limit)",
        "(noise * 0.1 * sides)",
    ),
    "labels of a box on a point": (
        "minisam/training/prompts.py",
        "torch.where(is_box, TOP_LEFT, FOREGROUND)",
        "torch.where(~is_box, TOP_LEFT, FOREGROUND)",
    ),
    "a row below the image": ("minisam/training/prompts.py", ".clamp(max=height - 1)", ""),
    "a share that is always the first": (
        "minisam/training/prompts.py",
        "self.points[start:stop]",
        "self.points[: stop - start]",
    ),
    "a quiet round that never comes last": (
        "minisam/training/prompts.py",
        "torch.randint(max(1, later_points), ",
        "torch.randint(max(1, later_points - 1), ",
    ),
}


@given(seeds)
def test_points_lie_in_the_mask_and_boxes_near_it(seed):
    """Kills: a point at (row, column), noise without a limit, labels of a box on a point."""
    masks = blobs(seed)
    coords, labels, is_box = prompts.initial_prompts(masks, prompts.draw(seed % 1000, 0, len(masks), 1))
    for mask, prompt, label, box in zip(masks, coords, labels, is_box, strict=True):
        rows, columns = np.nonzero(mask.numpy())
        if box:
            limit = 20 * masks.shape[-1] / 1024 + 1e-4
            truth = torch.tensor([[columns.min(), rows.min()], [columns.max(), rows.max()]])
            assert label.tolist() == [2, 3] and (prompt - truth).abs().max() <= limit
        else:
            x, y = prompt[0].long()
            assert label.tolist() == [1, -1] and mask[y, x]


def test_an_empty_region_is_no_error():
    """Kills: a row below the image."""
    region = torch.zeros(2, 4, 6, dtype=torch.bool)
    x, y = prompts.sample_pixels(region, torch.tensor([0.0, 0.999])).long().unbind(1)
    assert ((x >= 0) & (x < 6) & (y >= 0) & (y < 4)).all()


def test_the_quiet_round_comes_anywhere():
    """Kills: a quiet round that never comes last."""
    assert {prompts.draw(0, step, 1, 11).pause for step in range(200)} == set(range(8))


def test_a_share_of_the_chances_is_a_slice_of_all():
    """So that two processes play what one would have played. Kills: a share that is always the first."""
    whole = prompts.draw(3, 5, 6, 4)
    part = whole.part(2, 4)
    assert torch.equal(part.points, whole.points[2:4]) and part.pause == whole.pause and len(part.box) == 2
