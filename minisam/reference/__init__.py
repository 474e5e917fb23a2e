"""The same model in torch, with the official keys: ``build("vit_b")``. Needs the extra ``reference``."""

from __future__ import annotations

from minisam.model.config import SamConfig, get_config
from minisam.reference import fast as fast_attention
from minisam.reference.model import Sam

__all__ = ["Sam", "build"]


def build(config: str | SamConfig, fast: bool = False) -> Sam:
    """A model with torch's default random weights; fill it with ``load_state_dict``.

    ``fast``: the encoder's attention never holds its bias of N × N numbers (see ``minisam.reference.fast``)."""
    model = Sam(get_config(config) if isinstance(config, str) else config)
    return fast_attention.use(model) if fast else model
