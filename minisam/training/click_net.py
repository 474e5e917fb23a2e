"""A network in RITM's manner, trained on the same images as SAM: picture, clicks and the last mask go in at once.

Sofiiuk, Petrov and Konushin (2021), "Reviving iterative training with mask guidance for interactive segmentation".
Beside the image stand a map of foreground clicks, one of background clicks, both as disks, and the last mask's
probabilities; a convolutional encoder–decoder answers with a mask. Nothing is encoded once: each click runs it all.

One step, as theirs: random clicks first (``sample_clicks``); then, without a gradient, up to ``rounds`` rounds in which
the network answers and a click goes into the middle of the larger error (``correct``); then one answer with a gradient
for the normalised focal loss (α = ½, γ = 2). What differs: the network is small and has U-Net's shape instead of
HRNet's; it begins from nothing instead of ImageNet; and there are four answers instead of one. The first is RITM's.
Of the other three, only the closest learns, as in SAM, so that an oracle has three to choose from here as well.

The loss hardly falls, since it is normalised: IoU is what shows that something is learnt. AdamW at a rate of 1e-3 is
quicker here than Muon at 2e-3: mean IoU .22 and .14 after 180 steps of 4 images (one seed).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minisam.checkpoints.safetensors_file import read_safetensors
from minisam.training.data import Pictures, smallest_mask
from minisam.training.distributed import Processes
from minisam.training.initialisation import find_weights
from minisam.training.rounds import Figures, normalise, true_iou
from minisam.training.settings import Common, remaining_domains
from minisam_kernels import InputError

WIDTHS, DECODER = (24, 48, 80, 96), (32, 64, 64)  # channels at strides 2, 4, 8, 16, and on the way back from 2 on
ANSWERS = 4  # RITM's own, and three of which the closest learns
RADIUS = 5 / 320  # of a click's disk, in sides of the image: RITM has 5 pixels in crops of 320 × 480
MOST_CLICKS, FEWER = 24, 0.8  # of each kind at first; n + 1 clicks come .8 times as often as n
ELSEWHERE = (0.1, 0.4, 0.5)  # how often a first background click is anywhere, on another object, near the border
MOMENTUM, EPSILON = 0.1, 1e-5  # of batch norm
BORDER, ERODED, THRESHOLD = 0.1, 0.9, 0.49  # of √area; how often masks are eroded; a pixel's probability


@dataclasses.dataclass(frozen=True)
class ClickSettings(Common):
    """``masks`` per image, each a sample of its own; after the first clicks up to ``rounds`` more, one at a time;
    ``leave_out`` are domains of the world never shown."""

    masks: int = 3
    rounds: int = 3
    leave_out: tuple[str, ...] = ()

    def check(self) -> None:
        super().check()
        remaining_domains(self.leave_out)
        if self.masks < 1 or self.rounds < 0:
            raise InputError(f"expected masks above 0 and rounds of 0 or more, got {self.masks} and {self.rounds}")

    def begin(self) -> ClickTask:
        """Begin with a fresh network, or with the weights that the settings name."""
        task = ClickTask(ClickNet(), self)
        if self.init:
            arrays, _ = read_safetensors(find_weights(self.init))
            state = {name: torch.from_numpy(array.astype(np.float32)) for name, array in arrays.items()}
            try:
                task.model.load_state_dict(state)
            except RuntimeError as error:
                raise InputError(f"expected the weights of a click network, got {self.init}") from error
        return task


class Convolution(nn.Module):
    """A convolution without bias, batch norm and perhaps ReLU; the weight is kept as a matrix (C_out, C_in · k²)."""

    mean: Tensor
    variance: Tensor

    def __init__(self, inputs: int, outputs: int, side: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.shape, self.stride = (outputs, inputs, side, side), stride
        self.weight = nn.Parameter(torch.empty(outputs, inputs * side * side))
        nn.init.kaiming_normal_(self.weight)
        self.gain, self.shift = nn.Parameter(torch.ones(outputs)), nn.Parameter(torch.zeros(outputs))
        self.register_buffer("mean", torch.zeros(outputs))
        self.register_buffer("variance", torch.ones(outputs))

    def forward(self, x: Tensor, rectified: bool = True) -> Tensor:
        y = F.conv2d(x, self.weight.view(self.shape), stride=self.stride, padding=self.shape[-1] // 2)
        y = F.batch_norm(y, self.mean, self.variance, self.gain, self.shift, self.training, MOMENTUM, EPSILON)
        return F.relu(y, inplace=True) if rectified else y


class ClickNet(nn.Module):
    """Maps (N, 6, S, S) (image, foreground disks, background disks, last probabilities) to logits (N, 4, S, S)."""

    def __init__(self) -> None:
        super().__init__()
        pairs = list(zip((6, *WIDTHS), WIDTHS))
        self.down = nn.ModuleList(Convolution(a, b, stride=2) for a, b in pairs)
        self.first = nn.ModuleList(Convolution(b, b) for _, b in pairs)
        self.second = nn.ModuleList(Convolution(b, b) for _, b in pairs)
        self.side = nn.ModuleList(Convolution(a, b, 1) for a, b in zip(WIDTHS, DECODER))
        self.up = nn.ModuleList(Convolution(a, b, 1) for a, b in zip((*DECODER[1:], WIDTHS[-1]), DECODER))
        self.merge = nn.ModuleList(Convolution(b, b) for b in DECODER)
        self.head = nn.Conv2d(DECODER[0], ANSWERS, 3, padding=1)
        nn.init.normal_(self.head.weight, std=0.01)

    def forward(self, x: Tensor) -> Tensor:
        size, kept = x.shape[2:], []
        for down, first, second in zip(self.down, self.first, self.second):
            x = down(x)
            x = F.relu(x + second(first(x), rectified=False), inplace=True)
            kept.append(x)
        for i in reversed(range(len(DECODER))):
            above = self.up[i](x, rectified=False)
            above = above.repeat_interleave(2, 2).repeat_interleave(2, 3)
            x = self.merge[i](F.relu(above + self.side[i](kept[i], rectified=False)))
        return F.interpolate(self.head(x), size, mode="bilinear", align_corners=False)


def normalised_focal_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """The loss of each mask: logits (N, k, S, S), truth (N, S, S) bool → (N, k).

    With p the probability of the right answer, every pixel counts (1 − p)² times, divided by the mean of that over the
    image's pixels, through which no gradient flows: a nearly right mask learns as fast as a wrong one.
    """
    right = torch.where(truth[:, None], logits, -logits)
    weight = torch.sigmoid(-right) ** 2  # (1 − p)^γ
    weight = weight / (weight.detach().mean((2, 3), keepdim=True) + 1e-12)
    return -0.5 * (weight * F.logsigmoid(right)).mean((2, 3))


# ---- clicks ----------------------------------------------------------------------------------------------------------


def first_clicks(truth: np.ndarray, others: np.ndarray, rng: np.random.Generator) -> Iterator[tuple[int, int, int]]:
    """Yield random clicks (row, column, label) about a mask (S, S) bool; ``others`` is what other objects cover.

    One foreground click or more, inside the mask, mostly not at its edge; any number of background clicks.
    """
    from scipy.ndimage import binary_erosion, maximum_filter

    chance = FEWER ** np.arange(MOST_CLICKS + 1)
    inside = binary_erosion(truth, np.ones((3, 3))) if rng.random() < ERODED else truth
    inside = inside if inside.sum() > 1 else truth
    count = 1 + rng.choice(MOST_CLICKS, p=chance[:-1] / chance[:-1].sum())
    yield from ((row, column, 1) for row, column in rng.choice(np.argwhere(inside), count))
    count = rng.choice(MOST_CLICKS + 1, p=chance / chance.sum())
    if count:
        reach = int(np.ceil(BORDER * np.sqrt(truth.sum())))
        border = maximum_filter(truth, 2 * reach + 1) & ~truth
        places = [np.argwhere(region) for region in (~truth, others & ~truth, border)]
        for place in rng.choice(3, count, p=ELSEWHERE):
            if len(places[place]):
                yield *rng.choice(places[place]), 0


def next_click(predicted: np.ndarray, truth: np.ndarray, rng: np.random.Generator) -> tuple[int, int, int] | None:
    """A click (row, column, label) in the inner half of the larger error between masks (S, S) bool; None without."""
    from scipy.ndimage import distance_transform_edt

    errors = truth & ~predicted, predicted & ~truth
    missing, extra = (distance_transform_edt(np.pad(error, 1))[1:-1, 1:-1] for error in errors)
    label = int(missing.max() > extra.max())
    depth = missing if label else extra
    if not depth.any():
        return None
    row, column = rng.choice(np.argwhere(depth > depth.max() / 2))
    return row, column, label


def draw_disk(maps: np.ndarray, click: tuple[int, int, int]) -> None:
    """Draw a click into its maps (2, S, S), of foreground and of background."""
    row, column, label = click
    size = maps.shape[1]
    reach = np.arange(size, dtype=np.float32)
    near = (reach[:, None] - row) ** 2 + (reach - column) ** 2 <= (RADIUS * size) ** 2
    maps[1 - label][near] = 1


class ClickTask(nn.Module):
    """Makes of a batch and its chances loss and figures, as ``rounds.Interaction`` does for SAM."""

    name = "clicks"

    def __init__(self, model: ClickNet, settings: ClickSettings) -> None:
        super().__init__()
        self.model, self.settings = model, settings

    def pictures(self) -> Pictures:
        """Open the stream of images that the settings describe: SAM's, if these agree."""
        s = self.settings
        least, domains = smallest_mask(s.config().patch_size), remaining_domains(s.leave_out)
        return Pictures(
            s.size, s.masks, s.data, s.world, s.seed, s.steps * s.batch, least, hold_out=s.hold_out, domains=domains
        )

    def draw(self, step: int, processes: Processes) -> Tensor:
        """What the chances of a step are drawn from."""
        return torch.tensor([self.settings.seed, step, processes.rank])

    def export(self, state: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], None, dict[str, str]]:
        """Return what a file of weights holds."""
        facts = {"size": self.settings.size, "radius": RADIUS, "threshold": THRESHOLD, "epsilon": EPSILON}
        return state, None, {"click_net": json.dumps(facts)}

    def compile_parts(self, **how: Any) -> None:
        self.model.compile(**how)

    def forward(self, batch: dict[str, Tensor], draws: Tensor) -> tuple[Tensor, Figures]:
        rng, masks = np.random.default_rng(draws.tolist()), batch["masks"]
        images = normalise(batch["image"], batch["size"]).movedim(3, 1).repeat_interleave(masks.shape[1], dim=0)
        truth = masks.flatten(0, 1)
        objects, others = truth.numpy(), masks.any(1).repeat_interleave(masks.shape[1], dim=0).numpy()
        maps = np.zeros((len(objects), 2, *objects.shape[1:]), np.float32)
        for n in range(len(objects)):
            for click in first_clicks(objects[n], others[n], rng):
                draw_disk(maps[n], click)
        last = torch.zeros(len(objects), 1, *objects.shape[1:])
        self.model.eval()  # whose means are those of training
        with torch.no_grad():
            for _ in range(rng.integers(self.settings.rounds + 1)):
                last = torch.sigmoid(self.model(torch.cat([images, torch.from_numpy(maps), last], 1))[:, :1])
                for n, predicted in enumerate((last[:, 0] > THRESHOLD).numpy()):
                    correction = next_click(predicted, objects[n], rng)
                    if correction:
                        draw_disk(maps[n], correction)
        self.model.train()
        logits = self.model(torch.cat([images, torch.from_numpy(maps), last], 1))
        losses = normalised_focal_loss(logits, truth)
        with torch.no_grad():
            iou = true_iou(logits, truth)
        figures = {"iou": iou[:, 0].mean(), "oracle": iou[:, 1:].amax(1).mean()}
        return losses[:, 0].mean() + losses[:, 1:].amin(1).mean(), figures
