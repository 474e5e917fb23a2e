"""A folder with two small images and their masks."""

from __future__ import annotations

import pytest

from masked_scene import scene
from minisam.files.images import save_png


@pytest.fixture
def folder(tmp_path):
    image, masks = scene()
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    lines = ["image,mask,area,dataset"]
    for name, shown in (("a", masks), ("b", masks[:1])):
        image[0, 0] = ord(name)  # a copy would be no held-out image
        save_png(tmp_path / "images" / f"{name}.png", image)
        for number, mask in enumerate(shown):
            save_png(tmp_path / "masks" / f"{name}_{number}.png", mask)
            lines.append(f"images/{name}.png,masks/{name}_{number}.png,{mask.sum()},test")
    (tmp_path / "manifest.csv").write_text("\n".join(lines) + "\n")
    return tmp_path
