"""The torch model as ONNX: ``encoder.onnx`` and ``decoder.onnx``, for ONNX Runtime anywhere, browsers included.

Both come from ``torch.export`` through torch's own ONNX exporter, opset 20 (ONNX Runtime ≥ 1.17). Everything that an
application needs to know stands in the files: names, free axes, and under the metadata key ``minisam`` the sizes.

encoder.onnx  image            uint8 (batch, height, width, 3), RGB, the longer side already resized to S; the
                               normalisation and the padding to S × S are in the graph
           →  image_embeddings float32 (batch, C, h, w)
decoder.onnx  image_embeddings float32 (1, C, h, w), of one image
              point_coords     float32 (prompts, points, 2), (x, y) in pixels of the resized image
              point_labels     float32 (prompts, points): 1 foreground, 0 background, 2 and 3 a box's corners, −1 none;
                               a prompt without a box ends with a point that is none, at (0, 0)
              mask_input       float32 (masks, 1, 4h, 4w) logits; masks = prompts, or 1 for all, or 0 if there is none
              has_mask_input   float32 (1,): 1, or 0 and mask_input is not read
           →  low_res_masks    float32 (prompts, 4, 4h, 4w) logits: mask 0 is the single one, 1–3 the three of an
                               ambiguous prompt
              iou_predictions  float32 (prompts, 4)

The decoder's names and meanings are those of the decoder that Meta's released code exports, with more than one prompt
allowed; its last step, resizing the masks to the image, is left to the application.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir.passes.common as passes
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minisam.files.atomic import writing
from minisam.model.preprocess import MEAN, STD
from minisam.reference import model as reference
from minisam.sam import Sam
from minisam_kernels import InputError

OPSET = 20  # the first one with GELU as one operator
ENCODER, DECODER = "encoder.onnx", "decoder.onnx"
LARGEST = 2**31 - 2**24  # bytes of weights in one file: protobuf reads no message above 2 GiB
# Largest difference from torch, relative to the largest value: both compute in float32, in another order. 1e-4 is about
# a thousand roundings of 2^-24 that all go the same way; measured 1e-6 (tiny, encoder) to 1e-5 (ViT-B).
TOLERANCE = 1e-4


class Encoder(nn.Module):
    """Pixels → embedding, with what the predictor does before the encoder."""

    mean: Tensor
    std: Tensor

    def __init__(self, sam: reference.Sam) -> None:
        super().__init__()
        self.image_encoder, self.size = sam.image_encoder, sam.config.image_size
        self.register_buffer("mean", torch.from_numpy(MEAN))
        self.register_buffer("std", torch.from_numpy(STD))

    def forward(self, image: Tensor) -> Tensor:
        x = (image.float() - self.mean) / self.std
        x = F.pad(x, (0, 0, 0, self.size - image.shape[2], 0, self.size - image.shape[1]))
        return self.image_encoder(x).movedim(-1, 1)


class Decoder(nn.Module):
    """One image's embedding and a batch of prompts → all four masks of each prompt."""

    image_pe: Tensor

    def __init__(self, sam: reference.Sam) -> None:
        super().__init__()
        self.prompt_encoder, self.mask_decoder = sam.prompt_encoder, sam.mask_decoder
        self.register_buffer("image_pe", sam.prompt_encoder.get_dense_pe().detach())

    def forward(
        self,
        image_embeddings: Tensor,
        point_coords: Tensor,
        point_labels: Tensor,
        mask_input: Tensor,
        has_mask_input: Tensor,
    ) -> tuple[Tensor, Tensor]:
        sparse = self.prompt_encoder.embed_points(point_coords, point_labels)
        prompts = torch.arange(point_coords.shape[0])

        def with_mask(masks: Tensor, prompts: Tensor) -> Tensor:
            dense = self.prompt_encoder.mask_downscaling(masks).movedim(1, -1)
            several = torch.ones_like(masks[:, 0, 0, 0]).sum() != 1  # a number of the graph, not of this trace
            return dense[prompts * several]  # one mask serves all; too few are an error of the Gather

        def without(masks: Tensor, prompts: Tensor) -> Tensor:
            weight = self.prompt_encoder.no_mask_embed.weight.view(1, 1, 1, -1)
            return weight.expand(prompts.shape[0], *self.image_pe.shape[:2], -1).clone()

        dense = torch.cond(has_mask_input[0] > 0.5, with_mask, without, (mask_input, prompts))
        return self.mask_decoder.predict_masks(image_embeddings.movedim(1, -1), self.image_pe, sparse, dense)


def torch_model(sam: Sam) -> reference.Sam:
    """``sam``'s weights in the torch model, without initialising any first; the arrays are copied once."""
    with torch.device("meta"):
        model = reference.Sam(sam.config)
    state = {name: torch.from_numpy(np.array(value)) for name, value in sam.state_dict().items()}
    model.load_state_dict(state, assign=True)
    return model.eval().requires_grad_(False)


def example(sam: Sam, prompts: int = 3, points: int = 2, seed: int = 0) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Inputs of the two graphs by name, of sizes that no axis has by accident."""
    c, make = sam.config, torch.Generator().manual_seed(seed)
    side, size = c.image_embedding_size, c.image_size
    height, width = size - c.patch_size, size - 3
    image = torch.randint(0, 256, (2, height, width, 3), generator=make, dtype=torch.uint8)
    decoder = {
        "image_embeddings": torch.randn(1, c.prompt_embed_dim, side, side, generator=make),
        "point_coords": torch.rand(prompts, points, 2, generator=make) * size,
        "point_labels": torch.randint(-1, 4, (prompts, points), generator=make).float(),
        "mask_input": torch.randn(prompts, 1, 4 * side, 4 * side, generator=make),
        "has_mask_input": torch.ones(1),
    }
    return {"image": image}, decoder


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's warnings, which speak of torch's own code and of packages that are not needed."""
    logger = logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _trace(module: nn.Module, inputs: dict[str, Tensor], axes: dict[str, Any], outputs: list[str], sam: Sam) -> Any:
    """An ONNX program whose ``axes`` stay free. ``strict``: else every ``len(tensor)`` would freeze the batch."""
    with torch.no_grad(), _quiet():
        values = tuple(inputs.values())
        exported = torch.export.export(module.eval(), values, dynamic_shapes=tuple(axes.values()), strict=True)
        program = torch.onnx.export(
            exported, opset_version=OPSET, input_names=list(inputs), output_names=outputs, dynamo=True, verbose=False
        )
    assert program is not None
    program.rename_axes(
        {
            value.shape[axis].value: dim.__name__  # s27 → prompts
            for value, free in zip(program.model.graph.inputs, axes.values())
            for axis, dim in free.items()
            if value.shape is not None
        }
    )
    passes.ClearMetadataAndDocStringPass()(program.model)  # each node's stack trace, with the paths of this machine
    passes.RemoveUnusedNodesPass()(program.model)  # else ONNX Runtime warns of a leftover constant at every start
    program.model.producer_name = "minisam"
    program.model.metadata_props["minisam"] = json.dumps(dataclasses.asdict(sam.config))
    return program


def encoder_program(sam: Sam, model: reference.Sam) -> Any:
    """The encoder, free in batch, height and width."""
    batch, size = torch.export.Dim("batch"), sam.config.image_size
    sides = {1: torch.export.Dim("height", max=size), 2: torch.export.Dim("width", max=size)}
    return _trace(Encoder(model), example(sam)[0], {"image": {0: batch} | sides}, ["image_embeddings"], sam)


def decoder_program(sam: Sam, model: reference.Sam) -> Any:
    """The decoder, free in prompts, points and mask prompts."""
    prompts, points, masks = (torch.export.Dim(name) for name in ("prompts", "points", "masks"))
    axes: dict[str, Any] = {
        "image_embeddings": {},
        "point_coords": {0: prompts, 1: points},
        "point_labels": {0: prompts, 1: points},
        "mask_input": {0: masks},
        "has_mask_input": {},
    }
    inputs = example(sam)[1]
    inputs["mask_input"] = inputs["mask_input"].repeat(2, 1, 1, 1)[:5]  # a number of its own
    return _trace(Decoder(model), inputs, axes, ["low_res_masks", "iou_predictions"], sam)


def export(sam: Sam, folder: str | Path, tell: Callable[[str], object] = lambda _: None) -> list[Path]:
    """Write ``encoder.onnx`` and ``decoder.onnx`` into ``folder``, both or neither.

    Parameters
    ----------
    sam : Sam
        The model.
    folder : str or Path
        Where to; made if need be. Weights above 2 GB (ViT-H) go to ``encoder.onnx.data``, which must stay beside it.
    tell : callable, optional
        Called with the name of each file before its graph is made, which takes most of the time.

    Returns
    -------
    list of Path
        The files that were written, in alphabetical order.

    Raises
    ------
    InputError
        If the folder cannot be written to.
    """
    folder = check_folder(folder)
    made = not folder.exists()
    folder.mkdir(exist_ok=True)
    try:
        with writing(folder), tempfile.TemporaryDirectory(prefix=".export-", dir=folder) as temporary:
            model = torch_model(sam)
            for name, program in ((ENCODER, encoder_program), (DECODER, decoder_program)):
                size = sum(value.nbytes for key, value in sam.state_dict().items() if key.startswith("image_encoder."))
                external = name == ENCODER and size > LARGEST
                tell(name)
                program(sam, model).save(Path(temporary) / name, external_data=external)
            files = sorted(Path(temporary).iterdir(), reverse=True)  # weights before the graph that names them
            for file in files:
                os.replace(file, folder / file.name)
            return [folder / file.name for file in reversed(files)]
    finally:
        if made and not any(folder.iterdir()):
            folder.rmdir()


def check_folder(folder: str | Path) -> Path:
    """``folder`` as somewhere to write to: a folder, or a new one in a folder that exists."""
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"expected a folder to write into, got the file {folder}")
    existing = folder if folder.exists() else folder.parent
    if not existing.is_dir():
        raise InputError(f"expected an existing folder to make {folder.name!r} in, got {folder.parent}")
    if not os.access(existing, os.W_OK):
        raise InputError(f"expected a writable folder, got {existing}")
    return folder


def check(sam: Sam, folder: str | Path, tell: Callable[[str], object] = lambda _: None) -> dict[str, float]:
    """Run both files in ONNX Runtime beside torch → the largest difference of each output, relative to its largest.

    ``tell`` is called before each of the four runs.
    """
    import onnxruntime

    model = torch_model(sam)
    errors: dict[str, float] = {}
    image, prompt = example(sam, prompts=2, points=4, seed=1)
    image["image"] = image["image"][:1]
    cases: list[tuple[str, nn.Module, dict[str, Tensor]]] = [(ENCODER, Encoder(model), image)]
    for masks, has in ((2, 1.0), (1, 1.0), (0, 0.0)):
        changed = {"mask_input": prompt["mask_input"][:masks], "has_mask_input": torch.full((1,), has)}
        cases.append((DECODER, Decoder(model), prompt | changed))
    for name, module, inputs in cases:
        tell(f"check {name}")
        session = onnxruntime.InferenceSession(Path(folder) / name, providers=["CPUExecutionProvider"])
        outputs = session.run(None, {key: value.numpy() for key, value in inputs.items()})
        with torch.no_grad():
            expected = module(*inputs.values())
        for output, a, b in zip(
            session.get_outputs(), outputs, expected if isinstance(expected, tuple) else [expected]
        ):
            error = float(np.abs(a - b.numpy()).max() / b.abs().max())
            errors[output.name] = max(error, errors.get(output.name, 0.0))
    return errors
