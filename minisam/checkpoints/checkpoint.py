"""Weights in files: reading without running code, checking against a configuration, saving.

Read: the official ``.pth`` files (``sam_vit_b_01ec64.pth``; see ``torch_file.py``), ``.safetensors``, and folders of
transformers' ``SamModel`` (one file or several). Names come out as the official ones. Files above 64 MB are mapped into
memory: their float32 weights are never copied, other types become one float32 copy. Such a file must stay as it is
meanwhile; smaller ones are read.

    state = read_checkpoint("sam_vit_b_01ec64.pth")
    config = infer_config(state)
    sam = Sam(config, fit_state(config, state))         # what minisam.load does
"""

from __future__ import annotations

import dataclasses
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from minisam.checkpoints.hugging_face import is_hugging_face, to_hugging_face, to_official
from minisam.checkpoints.names import first_names, nearest, shorten, strip_prefixes
from minisam.checkpoints.other_files import what_it_is
from minisam.checkpoints.safetensors_file import read_safetensors, write_safetensors
from minisam.checkpoints.torch_file import read_torch_file
from minisam.files.atomic import check_ending
from minisam.model.config import CONFIGS, SamConfig
from minisam.model.preprocess import PIXEL_MEAN, PIXEL_STD
from minisam_kernels import InputError
from minisam_kernels.runtime.errors import reason

__all__ = [
    "StateDict",
    "check_finite",
    "fit_state",
    "infer_config",
    "is_hugging_face",
    "read_checkpoint",
    "save_checkpoint",
    "to_hugging_face",
    "to_official",
]

FOLDER = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
ENDINGS = (".pth", ".pt", ".bin", ".safetensors", ".ckpt")
MAX_INDEX = 1 << 20  # bytes of the table of a folder's files


class StateDict(dict[str, np.ndarray]):
    """Arrays by their official names, and the ``metadata`` texts that a safetensors file carries."""

    metadata: Mapping[str, str] = {}


def read_checkpoint(path: str | Path, copy: bool = False) -> StateDict:
    """The weights in a file or folder, under their official names.

    What stands before SAM's names is left out (``module.``, ``_orig_mod.``, ``sam.``, ``model.``, …). In a torch file
    they may be anywhere among other things (``state_dict``, ``model``, ``ema``, beside an optimiser's state), of which
    none is run; a model is preferred to its running average.

    Parameters
    ----------
    path : str or Path
        A ``.pth`` or ``.safetensors`` file, or a folder of transformers' ``SamModel``.
    copy : bool
        Read a file above 64 MB too, instead of mapping it.

    Returns
    -------
    StateDict
        Arrays as stored: float16, float32 or float64, read-only. bfloat16, which NumPy does not have, comes as float32.

    Raises
    ------
    InputError
        If the file is no checkpoint, is damaged, holds no tensors or those of several models, or would cost much more
        memory than it has bytes.
    """
    path = Path(path)
    try:
        arrays, metadata = _read_folder(path, copy) if path.is_dir() else _read_file(path, copy)
        state = StateDict(to_official(strip_prefixes(arrays)))
    except InputError:
        raise
    except Exception as error:  # whatever a damaged file makes zipfile, json or numpy say
        what = f"{shorten(str(path))}, which cannot be read ({reason(error)})"
        raise InputError(f"expected a whole checkpoint, got {what}") from error
    for name, value in (("pixel_mean", PIXEL_MEAN), ("pixel_std", PIXEL_STD)):  # some keep the preprocessing's numbers
        for key in [key for key in state if key.rpartition(".")[2] == name]:
            if state[key].size == 3 and np.allclose(state[key].ravel(), value):
                del state[key]
    state.metadata = metadata
    return state


def _read_file(path: Path, copy: bool) -> tuple[dict[str, np.ndarray], Mapping[str, str]]:
    if not path.is_file():
        what = "which is no file" if path.exists() else "which does not exist"
        leads = f", a link to {os.readlink(path)}" if path.is_symlink() else ""
        raise InputError(f"expected a checkpoint file, got {path}{leads}, {what}")
    with open(path, "rb") as file:
        start = file.read(512)
    if not start:
        raise InputError(f"expected a checkpoint, got {path}, which is empty")
    if start.startswith(b"PK\x03\x04"):
        try:
            return read_torch_file(path, copy), {}
        except zipfile.BadZipFile:
            cut = "a zip archive whose end is missing (a download that did not finish)"
            raise InputError(f"expected a whole checkpoint, got {path}, {cut}") from None
    other = what_it_is(path, start)
    if not other and (start[8:9] == b"{" or path.suffix == ".safetensors"):
        return read_safetensors(path, copy)
    other = other or "which is neither"
    raise InputError(f"expected a checkpoint (.pth of torch.save, or .safetensors), got {path}, {other}")


def _read_folder(folder: Path, copy: bool) -> tuple[dict[str, np.ndarray], Mapping[str, str]]:
    file = next((folder / name for name in FOLDER if (folder / name).is_file()), None)
    if file is None:
        inside = first_names(sorted(name for name in os.listdir(folder) if name.endswith(ENDINGS)))
        received = f"none of them but {inside}" if inside else "none of them"
        raise InputError(f"expected one of {', '.join(FOLDER)} in the folder {folder}, got {received}")
    if file.suffix != ".json":
        return _read_file(file, copy)
    if file.stat().st_size > MAX_INDEX:
        raise InputError(f"expected an index of at most {MAX_INDEX} bytes, got {file} of {file.stat().st_size}")
    index = json.loads(file.read_text(encoding="utf-8"))
    weight_map = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
        raise InputError(f"expected names of files as weight_map in {file}, got something else")
    arrays: dict[str, np.ndarray] = {}
    for name in sorted(set(weight_map.values())):
        if Path(name).name != name:
            raise InputError(f"expected names of files beside {file}, got {shorten(name)!r}")
        if not (folder / name).is_file():
            raise InputError(f"expected the file {shorten(name)!r} beside {file}, got none")
        arrays |= _read_file(folder / name, copy)[0]
    return arrays, {}


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
    if patch is not None:
        received = f"a patch embedding of {patch.shape}"
    else:
        near = nearest(["image_encoder.patch_embed.proj.weight"], list(state))
        received = f"none among {len(state)} weights: {first_names(state)}" + (f"; {near}" if near else "")
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
        If weights are missing, extra, of another shape, NaN or infinite; it names the first of each.
    """
    shapes = config.shapes()
    missing = [name for name in shapes if name not in state]
    extra = [name for name in state if name not in shapes]
    differ = [f"{n} {state[n].shape} instead of {s}" for n, s in shapes.items() if n in state and state[n].shape != s]
    no_numbers = [f"{n} ({state[n].dtype})" for n in shapes if n in state and state[n].dtype.kind != "f"]
    kinds = (("missing", missing), ("extra", extra), ("of another shape", differ), ("not floating-point", no_numbers))
    wrong = [f"{len(names)} {kind}: {first_names(names)}" for kind, names in kinds if names]
    if wrong:
        wrong += filter(None, [nearest(extra, missing)])
        raise InputError(f"expected the {len(shapes)} weights of {config.name}, got {'; '.join(wrong)}")
    with np.errstate(over="ignore"):  # of float64; what becomes infinite is named
        fitted = {name: np.require(state[name], np.float32, ["C", "A"]) for name in shapes}
    check_finite(fitted)
    return fitted


def check_finite(state: Mapping[str, np.ndarray]) -> None:
    """Refuse weights that are NaN or infinite: ``InputError`` says which and how many.

    A sum of each array tells, at the speed of memory: 0.05 s for ViT-B's 375 MB once they are in memory.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        doubtful = [name for name, array in state.items() if not np.isfinite(array.sum(dtype=array.dtype))]
    counts = {name: int(np.count_nonzero(~np.isfinite(state[name]))) for name in doubtful}
    bad = [f"{count} of {state[name].size} in {shorten(name)}" for name, count in counts.items() if count]
    if bad:
        more = f" and in {len(bad) - 3} more" if len(bad) > 3 else ""
        raise InputError(f"expected finite weights, got NaN or infinity: {', '.join(bad[:3])}{more}")


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
        If the name ends otherwise, the weights do not fit ``config`` or are not finite, or the file cannot be written.
    """
    check_ending(path, ".safetensors", "a file")
    notes = {**(metadata or {}), "config": json.dumps(dataclasses.asdict(config))}
    write_safetensors(path, fit_state(config, state), notes)
