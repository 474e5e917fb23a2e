"""Weights in files: reading without running code, checking against a configuration, saving.

Read: the official ``.pth`` files (``sam_vit_b_01ec64.pth``; see ``torch_file.py``), ``.safetensors``, and folders of
transformers' ``SamModel`` (one file or several). Names come out as the official ones. Files are mapped into memory:
float32 weights are never copied, other types become one float32 copy. The file must stay as it is meanwhile.

    state = read_checkpoint("sam_vit_b_01ec64.pth")
    config = infer_config(state)
    sam = Sam(config, fit_state(config, state))         # what minisam.load does
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from minisam.checkpoints.hugging_face import is_hugging_face, to_hugging_face, to_official
from minisam.checkpoints.safetensors_file import read_safetensors
from minisam.checkpoints.torch_file import read_torch_file
from minisam.files.atomic import atomic
from minisam.model.config import CONFIGS, SamConfig
from minisam_kernels import InputError

__all__ = [
    "StateDict",
    "fit_state",
    "infer_config",
    "is_hugging_face",
    "read_checkpoint",
    "save_checkpoint",
    "to_hugging_face",
    "to_official",
]

FOLDER = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")


class StateDict(dict[str, np.ndarray]):
    """Arrays by their official names, and the ``metadata`` texts that a safetensors file carries."""

    metadata: Mapping[str, str] = {}


def read_checkpoint(path: str | Path) -> StateDict:
    """The weights in a file or folder, under their official names.

    Parameters
    ----------
    path : str or Path
        A ``.pth`` or ``.safetensors`` file, or a folder of transformers' ``SamModel``.

    Returns
    -------
    StateDict
        Arrays as stored: float16, float32 or float64, read-only. bfloat16, which NumPy does not have, comes as float32.

    Raises
    ------
    InputError
        If the file is no checkpoint, is damaged, or holds anything but tensors.
    """
    path = Path(path)
    try:
        if path.is_dir():
            return _read_folder(path)
        return _read_file(path)
    except InputError:
        raise
    except Exception as error:  # whatever a damaged file makes zipfile, pickletools, json or numpy say
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise InputError(f"expected a whole checkpoint, got {path}, which cannot be read ({reason})") from error


def _read_file(path: Path) -> StateDict:
    if not path.is_file():
        raise InputError(f"expected a checkpoint file, got {path}, which does not exist")
    with open(path, "rb") as file:
        start = file.read(9)
    metadata: Mapping[str, str] = {}
    if not start:
        raise InputError(f"expected a checkpoint, got {path}, which is empty")
    if start.startswith(b"PK\x03\x04"):
        arrays = read_torch_file(path)
    elif start[8:] == b"{" or path.suffix == ".safetensors":
        arrays, metadata = read_safetensors(path)
    elif start[0] == 0x80 and start[1:2] <= b"\x05":
        raise InputError(f"expected a zip archive, as torch.save writes since 1.6, got {path}, an older bare pickle")
    else:
        raise InputError(f"expected a checkpoint (.pth of torch.save, or .safetensors), got {path}, which is neither")
    state = StateDict(to_official(arrays))
    state.metadata = metadata
    return state


def _read_folder(folder: Path) -> StateDict:
    file = next((folder / name for name in FOLDER if (folder / name).is_file()), None)
    if file is None:
        raise InputError(f"expected one of {', '.join(FOLDER)} in the folder {folder}, got none of them")
    if file.suffix != ".json":
        return _read_file(file)
    weight_map = json.loads(file.read_text(encoding="utf-8"))["weight_map"]
    shards = sorted(set(weight_map.values()))
    for name in shards:
        if Path(name).name != name:
            raise InputError(f"expected names of files beside {file}, got {name!r}")
    arrays: dict[str, np.ndarray] = {}
    for name in shards:
        if not (folder / name).is_file():
            raise InputError(f"expected the file {name!r} beside {file}, got none")
        is_torch = name.endswith(".bin")
        arrays |= read_torch_file(folder / name) if is_torch else read_safetensors(folder / name)[0]
    return StateDict(to_official(arrays))


def infer_config(state: Mapping[str, np.ndarray]) -> SamConfig:
    """The configuration that a state dict belongs to: the one that a file of ours names, or the one whose widths fit.

    Parameters
    ----------
    state : mapping of str to ndarray
        Weights by their official names, as ``read_checkpoint`` returns them.

    Returns
    -------
    SamConfig
        The image's size follows from the table of positions, so weights that were tuned at another size fit too.

    Raises
    ------
    InputError
        If no configuration has these widths, or the file's note of its sizes is damaged.
    """
    text = getattr(state, "metadata", {}).get("config")
    if text is not None:
        return _parse_config(text)
    patch, positions = (state.get(f"image_encoder.{name}") for name in ("patch_embed.proj.weight", "pos_embed"))
    for config in CONFIGS.values():
        wanted = (config.encoder_embed_dim, 3, config.patch_size, config.patch_size)
        if patch is not None and patch.shape == wanted:
            side = positions.shape[1] if positions is not None and positions.ndim == 4 else config.image_embedding_size
            return dataclasses.replace(config, image_size=side * config.patch_size) if side else config
    received = f"a patch embedding of {patch.shape}" if patch is not None else f"none among {len(state)} weights"
    raise InputError(f"expected a patch embedding that fits one of {', '.join(CONFIGS)}, got {received}")


def _parse_config(text: str) -> SamConfig:
    """The inverse of what ``save_checkpoint`` notes; every number is checked, as it decides about sizes."""
    try:
        values = json.loads(text)
        values["encoder_global_attn_indexes"] = tuple(values["encoder_global_attn_indexes"])
        config = SamConfig(**values)
    except (TypeError, KeyError, ValueError, RecursionError) as error:
        raise InputError(f"expected the sizes of a model in the checkpoint's metadata, got {text[:80]!r}") from error
    for name, value in dataclasses.asdict(config).items():
        numbers = value if isinstance(value, tuple) else () if name == "name" else (value,)
        limit = 1024 if "depth" in name or "num" in name else 1 << 16
        low = 0 if name in ("encoder_global_attn_indexes", "window_size") else 1
        if not all(type(number) is int and low <= number <= limit for number in numbers):
            raise InputError(f"expected {name} of a model from {low} to {limit}, got {str(value)[:80]}")
    return config


def _some(names: Sequence[str]) -> str:
    shown = [name[:160] if name.isprintable() else ascii(name[:160]) for name in names[:3]]
    return ", ".join(shown) + (", …" if len(names) > 3 else "")


def fit_state(config: SamConfig, state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """``state`` as what ``Sam(config, …)`` takes: every weight of the configuration, float32 and C-contiguous.

    Parameters
    ----------
    config : SamConfig
        Its ``shapes()`` say which weights there must be.
    state : mapping of str to ndarray
        Weights of any floating-point type. C-contiguous float32 arrays (on a mapped file, say) are not copied.

    Returns
    -------
    dict of str to ndarray

    Raises
    ------
    InputError
        If weights are missing, extra or of another shape; it names the first of each.
    """
    shapes = config.shapes()
    missing = [name for name in shapes if name not in state]
    extra = [name for name in state if name not in shapes]
    differ = [f"{n} {state[n].shape} instead of {s}" for n, s in shapes.items() if n in state and state[n].shape != s]
    no_numbers = [f"{n} ({state[n].dtype})" for n in shapes if n in state and state[n].dtype.kind != "f"]
    kinds = (("missing", missing), ("extra", extra), ("of another shape", differ), ("not floating-point", no_numbers))
    wrong = [f"{len(names)} {kind}: {_some(names)}" for kind, names in kinds if names]
    if wrong:
        raise InputError(f"expected the {len(shapes)} weights of {config.name}, got {'; '.join(wrong)}")
    return {name: np.require(state[name], np.float32, ["C", "A"]) for name in shapes}


def save_checkpoint(
    path: str | Path, state: Mapping[str, np.ndarray], config: SamConfig, metadata: Mapping[str, str] | None = None
) -> None:
    """Write the weights of ``config`` as float32 to a ``.safetensors`` file, whole or not at all.

    Parameters
    ----------
    path : str or Path
        The file; its name ends in ``.safetensors``.
    state : mapping of str to ndarray
        Weights by their official names.
    config : SamConfig
        The file notes it, so that ``infer_config`` knows sizes of your own as well.
    metadata : mapping of str to str, optional
        Further texts for the file's header.

    Raises
    ------
    InputError
        If the name ends otherwise, the weights do not fit ``config``, or the file cannot be written.
    """
    from safetensors.numpy import save_file

    if Path(path).suffix != ".safetensors":
        raise InputError(f"expected a name that ends in .safetensors, got {Path(path).name!r}")
    notes = {**(metadata or {}), "config": json.dumps(dataclasses.asdict(config))}
    weights = fit_state(config, state)
    with atomic(path) as temporary:
        save_file(weights, temporary, metadata=notes)
