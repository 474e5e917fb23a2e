"""Scenes of the world with their image embeddings, kept on disk: the encoder is frozen, so each is encoded once.

A folder holds three files that grow together, one entry a scene::

    images.u8         (N, S, S, 3) uint8
    embeddings.f16    (N, h, w, C) float16, what the frozen image encoder makes of them
    scenes.jsonl      seed, domain, caption and all masks (name, level, parent, run lengths), written last

A stop in between leaves an entry without its line; the next run cuts it off and goes on. Scene i is drawn from
(seed, i) alone, below ``HELD_OUT``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from minisam.files.atomic import make_folder
from minisam.predictor import SamPredictor
from minisam.world import HELD_OUT, Scene, SceneMask, render
from minisam_kernels import InputError
from minisam_kernels.masks import rle


class TextScenes:
    """The scenes in a folder, as many as have been written.

    Parameters
    ----------
    folder : str or Path
    predictor : SamPredictor
        Of the model whose encoder is shared; its sizes are the files'.
    seed : int
        Of the choice of scenes.
    """

    def __init__(self, folder: str | Path, predictor: SamPredictor, seed: int = 0) -> None:
        make_folder(folder)
        config = predictor.model.config
        self.folder, self.predictor, self.seed, self.size = Path(folder), predictor, seed, config.image_size
        side = config.image_embedding_size
        # the sizes of one entry, file by file
        self.entries: dict[str, tuple[type, tuple[int, ...]]] = {
            "images.u8": (np.uint8, (self.size, self.size, 3)),
            "embeddings.f16": (np.float16, (side, side, config.prompt_embed_dim)),
        }
        path = self.folder / "scenes.jsonl"
        self.lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        if self.lines and not self.lines[-1].endswith(b"\n"):
            self.lines.pop()
        notes = {"seed": seed, "size": self.size, "weights": predictor.model.weights_hash}
        first = json.loads(self.lines[0])["notes"] if self.lines else notes
        if first != notes:
            raise InputError(f"expected scenes of {notes} in {folder}, got {first}")
        self.notes = notes

    def __len__(self) -> int:
        return len(self.lines)

    def extend(self, count: int, say: Callable[[], object] = lambda: None) -> None:
        """Render, encode and write scenes until there are ``count``; ``say`` is called after each."""
        if len(self) >= count:
            return
        for name, (dtype, shape) in self.entries.items():
            (self.folder / name).touch()
            os.truncate(self.folder / name, len(self) * int(np.prod(shape)) * np.dtype(dtype).itemsize)
        (self.folder / "scenes.jsonl").write_bytes(b"".join(self.lines))
        for number in range(len(self), count):
            scene_seed = int(np.random.default_rng([self.seed, number]).integers(HELD_OUT))
            scene = render(scene_seed, self.size)
            self.predictor.set_image(scene.image)
            features = self.predictor.get_image_embedding()
            self._append("images.u8", scene.image)
            self._append("embeddings.f16", np.moveaxis(features[0], 0, -1).astype(np.float16))
            self.lines.append(self._line(scene, scene_seed))
            with open(self.folder / "scenes.jsonl", "ab") as file:
                file.write(self.lines[-1])
            say()

    def _append(self, name: str, values: np.ndarray) -> None:
        with open(self.folder / name, "ab") as file:
            file.write(np.ascontiguousarray(values).data)

    def _line(self, scene: Scene, scene_seed: int) -> bytes:
        runs = rle.encode(np.array([mask.segmentation for mask in scene.masks]))
        masks = [
            [mask.name, mask.level, mask.parent, rle.to_string(counts).decode()]
            for mask, counts in zip(scene.masks, runs)
        ]
        entry = {"seed": scene_seed, "domain": scene.domain, "caption": scene.caption, "masks": masks}
        return (json.dumps(entry | {"notes": self.notes}) + "\n").encode()

    def array(self, name: str) -> np.ndarray:
        """Map "images.u8" or "embeddings.f16" into memory: (N, …), read-only."""
        dtype, shape = self.entries[name]
        return np.memmap(self.folder / name, dtype, "r", shape=(len(self), *shape))

    def scene(self, number: int) -> Scene:
        """Return scene ``number`` as ``render`` made it."""
        entry = json.loads(self.lines[number])
        masks = []
        for name, level, parent, text in entry["masks"]:
            mask = rle.decode(rle.from_string(text), (self.size, self.size)).astype(bool)
            masks.append(SceneMask(mask, level, parent, name, int(mask.sum())))
        return Scene(np.array(self.array("images.u8")[number]), masks, entry["domain"], entry["caption"])
