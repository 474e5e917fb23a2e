"""``minisam.load``: a model by name, or from a checkpoint."""

from __future__ import annotations

import os
from pathlib import Path

from minisam.checkpoints.checkpoint import fit_state, infer_config, read_checkpoint
from minisam.checkpoints.names import shorten
from minisam.model.config import CONFIGS, get_config
from minisam.sam import Sam
from minisam_kernels import InputError

WEIGHTS = Path(__file__).parents[1] / "weights"


def shipped_weights(name: str) -> Path:
    """The file of weights that comes with minisam for a model; ``InputError`` if there is none."""
    path = WEIGHTS / f"{name}.safetensors"
    if not path.is_file():
        raise InputError(f"expected a checkpoint for {name}, whose weights do not come with minisam, got none")
    return path


def load(name_or_path: str | Path = "tiny", checkpoint: str | Path | None = None, *, copy: bool = False) -> Sam:
    """A model with trained weights.

    Parameters
    ----------
    name_or_path : str or Path
        The model's name: ``"tiny"``, whose weights come with the package, ``"vit_b"``, ``"vit_l"`` or ``"vit_h"``. Or a
        checkpoint, whose configuration is then found from its weights.
    checkpoint : str or Path, optional
        The weights of the named model: ``.pth``, ``.safetensors`` or a folder of transformers' ``SamModel``.
    copy : bool
        Read the whole file. Without it, a file above 64 MB is mapped into memory: whoever writes into it then changes
        the model, and whoever shortens it ends the process.

    Returns
    -------
    Sam

    Raises
    ------
    InputError
        If there is no such model or file, the file is no whole checkpoint, or its weights do not fit the configuration,
        are NaN or infinite.

    Notes
    -----
    A float32 file above 64 MB is mapped into memory, not copied. Nothing in a file is ever executed.

    Examples
    --------
    >>> sam = minisam.load("tiny")  # doctest: +SKIP
    >>> sam = minisam.load("vit_b", checkpoint="sam_vit_b_01ec64.pth")  # doctest: +SKIP
    >>> sam = minisam.load("weights.safetensors")  # doctest: +SKIP
    """
    name = str(name_or_path)
    if checkpoint is None and name in CONFIGS:
        checkpoint = shipped_weights(name)
    if checkpoint is None:
        if not isinstance(name_or_path, Path) and not os.path.lexists(name) and not Path(name).suffix:
            raise InputError(f"expected a model among {', '.join(CONFIGS)} or a checkpoint file, got {shorten(name)!r}")
        checkpoint, config = name, None
    else:
        config = get_config(name)
    state = read_checkpoint(checkpoint, copy)
    try:
        config = config or infer_config(state)
        return Sam(config, fit_state(config, state))
    except InputError as error:
        raise InputError(f"{error}, in {checkpoint}") from error
