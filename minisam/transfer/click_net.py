"""The network in RITM's manner, in NumPy: what ``minisam.training.click_net`` has trained answers clicks here.

Image, disks of the clicks and the last mask's probabilities pass down four levels, each half as large, and back up, the
level above added to each; batch norm is folded into the convolutions when the weights are read::

    γ · (w ∗ x − μ) / √(σ² + ε) + β = (γ / √(σ² + ε) · w) ∗ x + (β − γ · μ / √(σ² + ε))
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from minisam.checkpoints.safetensors_file import read_safetensors
from minisam.model.preprocess import apply_coords, normalise_and_pad, postprocess_masks, resize_image
from minisam_kernels import InputError
from minisam_kernels.layers.conv2d import conv2d
from minisam_kernels.layers.resize import resize
from minisam_kernels.runtime.threads import blas_at_one_thread

INPUTS = 6  # channels: the image's three, foreground disks, background disks, the last mask


class ClickNet:
    """The network: arrays by name, as a file has them, with batch norm folded in.

    Parameters
    ----------
    path : str or Path
        A file of ``minisam.experiments.left_out``.

    Attributes
    ----------
    size : int
        Side of its input in pixels.
    radius : float
        Of a click's disk, in sides of the input.
    threshold : float
        A pixel belongs to the mask if its logit exceeds this.

    Raises
    ------
    InputError
        If the file is none, or its arrays do not belong together.
    """

    def __init__(self, path: str | Path) -> None:
        arrays, notes = read_safetensors(Path(path))
        try:
            facts = json.loads(notes["click_net"])
            self.size, self.radius = int(facts["size"]), float(facts["radius"])
            chance, epsilon = float(facts["threshold"]), float(facts["epsilon"])
            self.threshold = float(np.log(chance / (1 - chance)))
            names = [name.removesuffix(".gain") for name in arrays if name.endswith(".gain")]
            self.layers = {name: _fold(arrays, name, epsilon) for name in names}
            self.layers["head"] = arrays["head.weight"].astype(np.float32), arrays["head.bias"].astype(np.float32)
            self.levels = sum(name.startswith("down.") for name in names)
            self.forward(np.zeros((1, 32, 32, INPUTS), np.float32))
        except (KeyError, ValueError, TypeError, InputError) as error:
            raise InputError(f"expected the weights of a click network, got {path} ({error})") from error

    def _convolve(self, name: str, x: np.ndarray, stride: int = 1, rectified: bool = True) -> np.ndarray:
        weight, bias = self.layers[name]
        y = conv2d(x, weight, bias, stride, weight.shape[2] // 2)
        return np.maximum(y, 0, out=y) if rectified else y

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Answer with masks at half the input's size.

        Parameters
        ----------
        x : ndarray, shape (N, S, S, 6), float32
            Normalised image, foreground disks, background disks, last probabilities; S is a multiple of 16.

        Returns
        -------
        ndarray, shape (N, S / 2, S / 2, 4), float32
            Logits: RITM's answer, then three to choose from.
        """
        kept = []
        for i in range(self.levels):
            x = self._convolve(f"down.{i}", x, stride=2)
            y = self._convolve(f"second.{i}", self._convolve(f"first.{i}", x), rectified=False)
            x = np.maximum(x + y, 0)
            kept.append(x)
        for i in reversed(range(self.levels - 1)):
            y = self._convolve(f"up.{i}", x, rectified=False).repeat(2, axis=1).repeat(2, axis=2)
            y += self._convolve(f"side.{i}", kept[i], rectified=False)
            x = self._convolve(f"merge.{i}", np.maximum(y, 0, out=y))
        return self._convolve("head", x, rectified=False)


def _fold(arrays: dict[str, np.ndarray], name: str, epsilon: float) -> tuple[np.ndarray, np.ndarray]:
    """A convolution's weight (C_out, C_in, k, k) and bias (C_out,) with its batch norm inside."""
    weight, gain, shift, mean, variance = (
        arrays[f"{name}.{part}"].astype(np.float32) for part in ("weight", "gain", "shift", "mean", "variance")
    )
    side = 1 if name.startswith(("side.", "up.")) else 3
    scale = gain / np.sqrt(variance + np.float32(epsilon))
    return (weight * scale[:, None]).reshape(len(weight), -1, side, side), shift - mean * scale


class ClickPredictor:
    """``clicks.Model`` for the network: an image, then clicks and the last mask again and again.

    Its confident answer is the first mask, RITM's only one; the other three are for an oracle.
    """

    ranked = False

    def __init__(self, net: ClickNet) -> None:
        self.net, self.name = net, "RITM-like"
        self.image: np.ndarray | None = None
        self.original = (0, 0)

    def set_image(self, image: np.ndarray) -> None:
        """Keep the image (H, W, 3) uint8, resized and normalised: nothing is computed before there is a click."""
        self.image = normalise_and_pad(resize_image(image, self.net.size), self.net.size)
        self.original = image.shape[:2]

    def answer(
        self, points: np.ndarray, labels: np.ndarray, state: np.ndarray | None, several: bool
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Answer clicks about B objects; see ``clicks.Model``. The state is the chosen mask's logits (B, S, S)."""
        if self.image is None:
            raise InputError("expected an image to be set with set_image first, got none")
        size, count = self.net.size, len(points)
        x = np.zeros((count, size, size, INPUTS), np.float32)
        x[..., :3] = self.image
        for n, (coords, kinds) in enumerate(zip(apply_coords(points, self.original, size), labels)):
            for (column, row), label in zip(coords, kinds):
                draw_disk(x[n, ..., 3:5], row, column, int(label), self.net.radius * size)
        if state is not None:
            x[..., 5] = 1 / (1 + np.exp(-state))
        with blas_at_one_thread():
            low = self.net.forward(x).transpose(0, 3, 1, 2)
        low = low[:, 1:] if several else low[:, :1]
        flat = np.ascontiguousarray(low).reshape(-1, *low.shape[2:])
        masks = postprocess_masks(flat, self.original, size, self.net.threshold).reshape(*low.shape[:2], *self.original)
        states = resize(flat[..., None], (size, size)).reshape(*low.shape[:2], size, size)
        return masks, np.zeros(low.shape[:2], np.float32), states


def draw_disk(maps: np.ndarray, row: float, column: float, label: int, radius: float) -> None:
    """Draw a click into maps (S, S, 2) of foreground and background: 1 where a pixel is within ``radius`` of it."""
    top, left = max(0, int(row - radius)), max(0, int(column - radius))
    near = maps[top : int(row + radius) + 2, left : int(column + radius) + 2, 1 - label]
    y, x = np.ogrid[top : top + near.shape[0], left : left + near.shape[1]]
    near[(y - row) ** 2 + (x - column) ** 2 <= radius**2] = 1
