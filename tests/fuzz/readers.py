"""Readers of files, and valid files for each: ``test_fuzz.py`` damages these, ``by_hand.py`` for as long as one likes.

Whatever a file holds, a reader has two answers: what it read, or ``InputError`` with one line. It gives one of them
within ``SECONDS`` of the processor, and holds no more than ``BYTES`` and ``TIMES`` the file's size meanwhile.
"""

from __future__ import annotations

import functools
import json
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from minisam.predictor import SamPredictor
from minisam.sam import Sam, random_state
from minisam_kernels import InputError
from small_models import SMALL, picture

SECONDS, BYTES, TIMES = 2.0, 64 << 20, 20
LONGEST = 600  # characters of a message


class Reader(NamedTuple):
    """``write`` puts valid files into a folder and returns them; ``read`` is everything that is done with one."""

    write: Callable[[Path], list[Path]]
    read: Callable[[Path], Any]


def answer(read: Callable[[], Any], size: int = 0) -> Any:
    """What ``read`` returns, or its ``InputError``; anything else fails, and so does what it may not cost."""
    tracemalloc.start()
    began = time.process_time()
    try:
        result = read()
    except InputError as error:
        result = error
        assert "expected" in str(error) and "\n" not in str(error) and len(str(error)) <= LONGEST, str(error)
    finally:
        seconds, (_, peak) = time.process_time() - began, tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert seconds < SECONDS, f"{seconds:.1f} s"
    assert peak < BYTES + TIMES * size, f"{peak >> 20} MiB"
    return result


# ------------------------------------------------------------------------------------------------ images and records


def image_files(folder: Path) -> list[Path]:
    """The same few colours in the formats that people have."""
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 4), dtype=np.uint8)
    colour, grey = Image.fromarray(pixels[..., :3]), pixels[..., 0].astype(np.uint16) * 257
    written = [(colour, "a.jpg"), (colour, "a.png"), (colour, "a.tif"), (colour, "a.webp"), (colour, "a.bmp")]
    written += [(Image.fromarray(pixels), "transparent.png"), (Image.fromarray(grey), "deep.png")]
    for image, name in written:
        image.save(folder / name)
    return [folder / name for _, name in written]


def read_image(path: Path) -> np.ndarray:
    """An image is uint8 (H, W, 3), whatever the file."""
    from minisam.files import images

    image = images.read_image(path)
    assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
    return image


def record(height: int = 6, width: int = 8) -> dict[str, Any]:
    """A record in SA-1B's schema: two masks, the run lengths once as text and once as numbers."""
    from minisam_kernels.masks import rle

    masks = np.zeros((2, height, width), bool)
    masks[0, 1:4, 2:6] = masks[1, 3:, :4] = True
    text, numbers = rle.encode(masks)
    size = [height, width]
    codes: list[dict[str, Any]] = [{"size": size, "counts": rle.to_string(text).decode()}]
    codes.append({"size": size, "counts": numbers.tolist()})
    annotations = [
        {"id": i + 1, "segmentation": code, "area": int(mask.sum()), "bbox": [2, 1, 4, 3], "predicted_iou": 0.9}
        for i, (code, mask) in enumerate(zip(codes, masks))
    ]
    about = {"image_id": 1, "file_name": "a.png", "width": width, "height": height}
    return {"image": about, "annotations": annotations}


def record_files(folder: Path) -> list[Path]:
    """Records of SA-1B beside the image that they are of."""
    Image.new("RGB", (8, 6), "olive").save(folder / "a.png")
    paths = [folder / "a.json"]
    paths[0].write_text(json.dumps(record()))
    return paths


def read_folder(path: Path) -> list[np.ndarray]:
    """What training does with a folder: it checks all of it, then shows images and masks of one size."""
    from minisam.training.sources import open_sources

    (source,) = open_sources(path.parent)
    source.check()
    return [show(source, index) for index in range(len(source))]


def show(source: Any, index: int) -> np.ndarray:
    """An image's masks; they must have its size."""
    image = source.picture(index)
    masks: np.ndarray = source.masks(index, range(source.count(index)))
    assert masks.dtype == bool and masks.shape[1:] == (image.height, image.width)
    return masks


# ------------------------------------------------------------------------------------- packed files and weights


def packed_files(folder: Path) -> list[Path]:
    """Two images with two masks each in one file."""
    from minisam.training.pack import pack

    (folder / "set").mkdir()
    record_files(folder / "set")
    pack([folder / "set", folder / "set"], folder / "packed.safetensors", 64, 75, 1 << 20)
    return [folder / "packed.safetensors"]


def read_packed(path: Path) -> list[np.ndarray]:
    """What training does with a packed file."""
    from minisam.training.sources import open_sources

    return [show(source, index) for source in open_sources(path) for index in range(len(source))]


def small_state() -> dict[str, np.ndarray]:
    """A few weights, of a model that is not there."""
    return {"mask_decoder.a": np.arange(6, dtype=np.float32).reshape(2, 3), "mask_decoder.b": np.ones(2, np.float32)}


def safetensors_files(folder: Path) -> list[Path]:
    """Weights with their notes, and none."""
    from safetensors.numpy import save_file

    save_file(small_state(), folder / "a.safetensors", metadata={"config": "{}", "format": "np"})
    save_file({}, folder / "none.safetensors")
    return [folder / "a.safetensors", folder / "none.safetensors"]


def torch_files(folder: Path) -> list[Path]:
    """Weights as torch saves them, alone and in a training's state."""
    import torch

    state = {name: torch.from_numpy(array) for name, array in small_state().items()}
    torch.save(state, folder / "a.pth")
    optimiser = torch.optim.AdamW([torch.nn.Parameter(tensor) for tensor in state.values()])
    torch.save({"model": state, "optimizer": optimiser.state_dict(), "epoch": 3}, folder / "training.pth")
    return [folder / "a.pth", folder / "training.pth"]


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """Every number of a checkpoint."""
    from minisam.checkpoints.checkpoint import read_checkpoint

    state = read_checkpoint(path)
    for array in state.values():
        array.sum()
    return dict(state)


@functools.cache
def small_predictor() -> SamPredictor:
    """A predictor of a small model that has seen an image."""
    predictor = SamPredictor(Sam(SMALL, random_state(SMALL)))
    predictor.set_image(picture(24, 30))
    predictor.predict(point_coords=[[3, 4]], point_labels=[1], box=[1, 2, 9, 9])  # compiled
    return predictor


def embedding_files(folder: Path) -> list[Path]:
    """What a model made of an image."""
    small_predictor().save_embedding(folder / "a.safetensors")
    return [folder / "a.safetensors"]


def read_embedding(path: Path) -> np.ndarray:
    """A mask from a kept embedding."""
    predictor = SamPredictor(small_predictor().model)
    predictor.load_embedding(path)
    return predictor.predict(box=[1, 2, 9, 9])[0]


def settings_files(folder: Path) -> list[Path]:
    """Settings of a training."""
    (folder / "a.json").write_text(json.dumps({"size": 64, "steps": 4, "lr": 1e-3, "decay": "steps", "drops": [2]}))
    return [folder / "a.json"]


def read_settings(path: Path) -> Any:
    """Settings as ``train --config`` takes them."""
    from minisam.training import settings

    chosen = settings.Settings(**settings.read_settings(path, settings.Settings))
    chosen.check()
    return chosen


READERS = {
    "image": Reader(image_files, read_image),
    "record": Reader(record_files, read_folder),
    "packed": Reader(packed_files, read_packed),
    "safetensors": Reader(safetensors_files, read_weights),
    "torch": Reader(torch_files, read_weights),
    "embedding": Reader(embedding_files, read_embedding),
    "settings": Reader(settings_files, read_settings),
}
