"""The rounds of prompts and the loss of equation 1 (paper, section 3 and appendix A).

Round 1 is one point or one noisy box, and of the three masks the closest by 20·focal + dice is graded; later
rounds add a click where the last mask is wrong and feed that mask's logits back; with more than one prompt only the
single-mask token is graded. Predicted IoU is regressed on the true IoU in every round.

One thing differs from the paper: a first round from a box grades the single-mask token as well, because callers
ask for that token with a box (``multimask_output=False``).

Memory: the encoder runs once for a batch, and each round's gradient is taken at once, with respect to the weights and
the embedding, before the next round begins. What is kept is one round's activations, however many rounds there are.
The encoder's gradient follows in one backward pass from the sum at the embedding: by the chain rule the same as the
gradient of the sum of all rounds (``joint`` computes that, for the test).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minisam.annotator import new_points
from minisam.model.config import SamConfig
from minisam.model.preprocess import PIXEL_MEAN, PIXEL_STD
from minisam.reference import ops
from minisam.reference.model import Block, Sam
from minisam.training import initialisation, prompts
from minisam.training.data import Pictures, smallest_mask
from minisam.training.distributed import Processes
from minisam.training.prompts import Draws
from minisam.training.settings import Settings, remaining_domains

Figures = dict[str, Tensor]


@functools.cache
def _pixel_statistics(device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean and deviation, kept on the device: a copy from unpinned memory in every step would wait for the device."""
    return torch.tensor(PIXEL_MEAN, device=device), torch.tensor(PIXEL_STD, device=device)


def normalise(images: Tensor, sizes: Tensor) -> Tensor:
    """Normalise images uint8 (B, S, S, 3) → float32; zeros where an image ends come after normalising, as in SAM."""
    mean, std = _pixel_statistics(images.device)
    x = (images.float() - mean) / std
    rows = torch.arange(x.shape[1], device=x.device)[None, :, None]
    columns = torch.arange(x.shape[2], device=x.device)[None, None, :]
    inside = (rows < sizes[:, 0, None, None]) & (columns < sizes[:, 1, None, None])
    return x * inside[..., None]


def autocast(device: torch.device, precision: str) -> Any:
    """Return the context in which products may round to bfloat16; the weights themselves stay float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


Grade = Callable[[Tensor, Tensor, Settings], Tensor]


def grade(logits: Tensor, truth: Tensor, s: Settings) -> Tensor:
    """Grade each mask by weighted focal + dice: logits (M, k, S, S), truth (M, S, S) → (M, k)."""
    flat, target = logits.flatten(0, 1), truth.repeat_interleave(logits.shape[1], dim=0)
    loss = s.focal * ops.focal_loss(flat, target) + s.dice * ops.dice_loss(flat, target)
    return loss.view(logits.shape[:2])


def true_iou(logits: Tensor, truth: Tensor) -> Tensor:
    """Return the IoU of the masks logits > 0 (M, k, S, S) with truth (M, S, S) → float32 (M, k)."""
    masks, truth = logits > 0, truth[:, None]
    both, either = (masks & truth).sum(dim=(2, 3)), (masks | truth).sum(dim=(2, 3))
    return both.float() / either.float()


def take(values: Tensor, index: Tensor) -> Tensor:
    """Take entry ``index`` (M,) of each row of values (M, k, …) → (M, …)."""
    return values[torch.arange(len(index), device=index.device), index]


def play(
    model: Sam, embedding: Tensor, masks: Tensor, draws: Draws, s: Settings, grade: Grade = grade
) -> Iterator[tuple[Tensor, Figures, Tensor]]:
    """Yield, for each round, its share of the loss (a scalar), figures for the log, and the chosen logits (M, h, w).

    embedding (B, h, w, C); masks (B, K, S, S) bool. A caller may take the gradient of a round before it asks for the
    next one; nothing flows from round to round but clicks and logits without a gradient.
    """
    truth = masks.flatten(0, 1)  # (M, S, S), M = B · K
    image_pe = model.prompt_encoder.get_dense_pe()
    coords, labels, is_box = prompts.initial_prompts(truth, draws)
    new, feedback = new_points(s.rounds, draws.pause), None
    for number in range(s.rounds):
        # prompts → tokens, in float32: bfloat16 would move points by pixels
        sparse = model.prompt_encoder.embed_points(coords, labels)
        # tokens and the image's embedding, once per mask → four masks' logits and predicted IoU
        with autocast(embedding.device, s.precision):
            shared = embedding.repeat_interleave(masks.shape[1], dim=0)
            _, dense = model.prompt_encoder(masks=feedback if s.mask_feedback else None)
            low_res, confidence = model.mask_decoder.predict_masks(shared, image_pe, sparse, dense)
        low_res, confidence = low_res.float(), confidence.float()
        # grade, and choose the mask that goes on
        if number == 0:
            loss, best, seen, figures = first_loss(low_res, confidence, truth, is_box, s, grade)
        else:
            loss, best, seen, figures = later_loss(low_res, confidence, truth, s, grade)
        chosen = take(low_res.detach(), best)
        yield loss / s.rounds, {f"{name}_{number + 1}": value for name, value in figures.items()}, chosen
        # the next round sees the chosen logits, and perhaps a click where that mask is wrong
        if number + 1 < s.rounds:
            feedback = chosen[:, None]
            if new[number]:
                coord, label = prompts.correction(seen > 0, truth, draws.points[:, number + 1])
                coords, labels = torch.cat([coords, coord], dim=1), torch.cat([labels, label], dim=1)


def upsample(low_res: Tensor, truth: Tensor) -> Tensor:
    """Resize (M, k, h, w) → (M, k, S, S), bilinearly."""
    return F.interpolate(low_res, truth.shape[1:], mode="bilinear", align_corners=False)


Round = tuple[Tensor, Tensor, Tensor, Figures]  # loss, the chosen mask's number (M,), its logits (M, S, S), figures


def first_loss(
    low_res: Tensor, confidence: Tensor, truth: Tensor, is_box: Tensor, s: Settings, grade: Grade = grade
) -> Round:
    """Grade a round with one prompt: of three masks the best learns (or all, or the single one: ``multimask``).

    All masks are graded without a gradient; then only those that learn are graded again with one, which saves
    memory and backward work.
    """
    # m, IoU(m, g) and 20·FL + DL of all four masks, to choose by
    with torch.no_grad():
        logits = upsample(low_res, truth)
        iou, losses = true_iou(logits, truth), grade(logits, truth, s)
    # (predicted − true IoU)², with a gradient for the prediction alone
    errors = (confidence - iou) ** 2
    single = grade(upsample(low_res[:, :1], truth), truth, s)[:, 0]
    if s.multimask == "single":
        best, loss = torch.zeros_like(is_box, dtype=torch.long), single.mean() + errors[:, 0].mean()
    else:
        # a user without the truth takes the surest mask, so that one goes on; the closest one learns
        best = 1 + confidence[:, 1:].argmax(dim=1)
        if s.multimask == "mean":
            several = grade(upsample(low_res[:, 1:], truth), truth, s).mean(dim=1)
        else:
            closest = 1 + losses[:, 1:].argmin(dim=1)
            several = grade(upsample(take(low_res, closest)[:, None], truth), truth, s)[:, 0]
        # after a box the single-mask token learns both its mask and its IoU
        loss = several.mean() + errors[:, 1:].mean() + (is_box * (single + errors[:, 0])).mean()
    figures = {"iou": take(iou, best).mean(), "oracle": iou[:, 1:].amax(dim=1).mean()}
    return loss, best, take(logits, best), figures


def later_loss(low_res: Tensor, confidence: Tensor, truth: Tensor, s: Settings, grade: Grade = grade) -> Round:
    """Grade a round with more than one prompt: the single-mask token alone."""
    logits = upsample(low_res[:, :1], truth)
    with torch.no_grad():
        iou = true_iou(logits, truth)
    loss = (grade(logits, truth, s) + (confidence[:, :1] - iou) ** 2).mean()
    only = torch.zeros(len(truth), dtype=torch.long, device=truth.device)
    return loss, only, logits.detach()[:, 0], {"iou": iou.mean()}


class _Known(torch.autograd.Function):
    """A value whose gradient with respect to ``inputs`` has been computed already."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, gradients: Sequence[Tensor], *inputs: Tensor) -> Tensor:
        ctx.gradients = gradients
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, *torch._foreach_mul(list(ctx.gradients), upstream[0])


class Interaction(nn.Module):
    """Makes of a batch and its chances the loss of all rounds and the log's figures, for one ``loss.backward()``.

    The gradient of every round is inside the loss already when this returns (see ``_Known``), so that one backward
    pass is left, through the encoder: which is what ``DistributedDataParallel`` expects to see.
    """

    def __init__(self, model: Sam, settings: Settings) -> None:
        super().__init__()
        self.model, self.settings, self.grade = model, settings, grade
        self.compiled_encoder: Callable[[Tensor], Tensor] | None = None

    name = "train"

    @classmethod
    def begin(cls, settings: Settings) -> Interaction:
        """Begin with a fresh model, or with the weights that the settings name, on the CPU."""
        model = Sam(settings.config())
        initialisation.initialise(model)
        initialisation.add_drop_path(model, settings.drop_path)
        if settings.init:
            initialisation.load_weights(model, settings.init, settings.config())
        return cls(model, settings)

    def pictures(self) -> Pictures:
        """Open the stream of images that the settings describe."""
        s = self.settings
        least = smallest_mask(s.config().patch_size)
        return Pictures(
            s.size, s.masks, s.data, s.world, s.seed, s.steps * s.batch, least,
            hold_out=s.hold_out, colours=s.colours, paste=s.paste, zoom=s.zoom,
            domains=remaining_domains(s.leave_out),
        )  # fmt: skip

    def draw(self, step: int, processes: Processes) -> Draws:
        """Draw the chances of this process's masks in a step."""
        s, share = self.settings, processes.share(self.settings.batch)
        draws = prompts.draw(s.seed, step, s.batch * s.masks, s.rounds)
        return draws.part(share.start * s.masks, share.stop * s.masks)

    def export(self, state: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], SamConfig, dict[str, str]]:
        """Return what a file of weights holds: arrays, configuration, notes."""
        return state, self.settings.config(), {}

    def compile_parts(self, **how: Any) -> None:
        """Compile the losses, for any number of masks, and on a GPU the model.

        The losses become one pass over the pixels instead of a dozen; on two cores 1.4 times as many images are trained
        on per second. On a CPU the model would take minutes to compile and gain nothing.
        """
        self.grade = torch.compile(grade, dynamic=True, **how)
        if self.model.mask_decoder.iou_token.weight.device.type == "cuda":
            self.compile_model(**how)

    def compile_model(self, **how: Any) -> None:
        """Compile the encoder, one code for all blocks of a kind, and the decoder for any number of points.

        For the whole process this makes numbers such as the ε of a norm constants of compiled code: as variables they
        have failed on a GPU (torch 2.11).
        """
        torch._dynamo.config.specialize_float = True
        step = torch.compile(Block.forward, dynamic=False, **how)
        self.compiled_encoder = functools.partial(self.model.image_encoder, step=step)
        self.model.mask_decoder.transformer.compile(dynamic=True, **how)

    def embed(self, batch: dict[str, Tensor]) -> Tensor:
        """Encode a batch's images → float32 (B, h, w, C)."""
        with autocast(batch["image"].device, self.settings.precision):
            encode = self.compiled_encoder or self.model.image_encoder
            return encode(normalise(batch["image"], batch["size"])).float()

    def forward(self, batch: dict[str, Tensor], draws: Draws) -> tuple[Tensor, Figures]:
        # e = f(image): encoded once; the rounds see a leaf in its place, where their gradients ∂L_r/∂e add up
        embedding = self.embed(batch)
        leaf = embedding.detach().requires_grad_()
        heads = (self.model.prompt_encoder, self.model.mask_decoder)
        inputs = [leaf, *(p for head in heads for p in head.parameters() if p.requires_grad)]
        sums = [torch.zeros_like(x) for x in inputs]
        total = leaf.new_zeros(())
        figures: Figures = {}
        for loss, round_figures, _ in play(self.model, leaf, batch["masks"], draws, self.settings, self.grade):
            # take this round's gradient now, which frees its activations, and add it to the sums
            gradients = torch.autograd.grad(loss, inputs, allow_unused=True)
            used = [(x, g) for x, g in zip(sums, gradients) if g is not None]
            torch._foreach_add_([x for x, _ in used], [g for _, g in used])
            total = total + loss.detach()
            figures |= round_figures
        # one backward pass is left: from Σ_r ∂L_r/∂e through the encoder
        return _Known.apply(total, sums, embedding, *inputs[1:]), figures

    def joint(self, batch: dict[str, Tensor], draws: Draws) -> Tensor:
        """Compute the same loss with one graph over all rounds."""
        rounds = play(self.model, self.embed(batch), batch["masks"], draws, self.settings, self.grade)
        return torch.stack([loss for loss, _, _ in rounds]).sum()
