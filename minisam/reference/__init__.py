"""The same model in torch, with the official keys: ``build("vit_b")``. Needs the extra ``reference``."""

from __future__ import annotations

from minisam.config import SamConfig, get_config
from minisam.reference.model import Sam

__all__ = ["Sam", "build"]


def build(config: str | SamConfig) -> Sam:
    """A model with torch's default random weights; fill it with ``load_state_dict``."""
    return Sam(get_config(config) if isinstance(config, str) else config)
