"""Words as a prompt: a predictor whose decoder was tuned to take an embedding of CLIP as one more token.

Source: paper, section 7.5 and appendix D.5. The tokens were trained on CLIP's embeddings of *images*, crops around a
mask, which every mask has without anybody writing a word; because CLIP puts a text near the images that it describes,
the text's embedding then serves as the prompt (moved a little, see ``embed_texts``).

    predictor = TextPredictor(with_text(minisam.load("tiny")))
    predictor.set_image(photo)
    masks, iou_predictions, low_res_logits = predictor.predict_text("a red car")
    masks, *_ = predictor.predict_text("a red car", point_coords=[[120, 80]], point_labels=[1])

The image encoder is tiny's own, unchanged: an embedding that a click has paid for serves words, too
(``predictor.features = other.features``). Prompt encoder and mask decoder are tuned copies; points, boxes and masks
without words go to them as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from minisam.checkpoints.checkpoint import check_finite
from minisam.checkpoints.loading import WEIGHTS
from minisam.checkpoints.safetensors_file import read_safetensors
from minisam.model.inputs import one_box, one_prompt
from minisam.model.numbers import as_numbers
from minisam.model.state import State
from minisam.predictor import Answer, SamPredictor
from minisam.sam import Sam
from minisam_kernels import InputError

if TYPE_CHECKING:
    from minisam.clip import Clip

TEXT_WEIGHTS = WEIGHTS / "text.safetensors"
PRIOR = "text_prior"  # (E, E) and (E,): from a text's vector to that of a crop it describes, by least squares


def with_text(sam: Sam, path: str | Path = TEXT_WEIGHTS) -> Sam:
    """A model with the same image encoder, whose prompt encoder and decoder take embeddings of texts.

    Parameters
    ----------
    sam : Sam
        The model that was tuned, for the weights that come with minisam ``minisam.load("tiny")``. Its encoder's arrays
        are shared.
    path : str or Path
        What ``python -m minisam.training.text_prompts`` has written.

    Returns
    -------
    Sam

    Raises
    ------
    InputError
        If the file is damaged or was tuned from other weights.
    """
    arrays, notes = read_safetensors(Path(path))
    if notes.get("tuned_from") != sam.weights_hash:
        wanted = f"the model that {Path(path).name} was tuned from ({notes.get('tuned_from', 'unknown')[:12]}…)"
        raise InputError(f"expected {wanted}, got {sam.config.name} ({sam.weights_hash[:12]}…)")
    check_finite(arrays)
    return Sam(sam.config, sam.state_dict() | {name: array.astype(np.float32) for name, array in arrays.items()})


class TextPredictor(SamPredictor):
    """``SamPredictor`` with words as one more kind of prompt.

    Parameters
    ----------
    sam_model : Sam
        As ``with_text`` gives it.
    clip : Clip, optional
        Towers that embed as those did with which the model was tuned; by default the ones that come with minisam, which
        are loaded when the first text comes.
    plain : bool
        As for ``SamPredictor``.
    """

    def __init__(self, sam_model: Sam, clip: Clip | None = None, plain: bool = False) -> None:
        super().__init__(sam_model, plain)
        state = sam_model.state_dict()
        if f"{PRIOR}.weight" not in state:
            raise InputError(f"expected a model as minisam.text.with_text gives it, got {sam_model.config.name}")
        self._clip, self._prior = clip, State(state, f"{PRIOR}.")

    @property
    def clip(self) -> Clip:
        """The towers."""
        if self._clip is None:
            from minisam.clip import load

            self._clip = load()
        return self._clip

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """The prompts that texts become: CLIP's vectors, moved to where those of images lie.

        Texts and images that belong together are apart in CLIP's space (Liang et al. 2022, "Mind the gap"), and the
        tuned decoder has seen images alone. So a text's vector goes through an affine map, fitted by least squares on
        phrases and crops of the training scenes: the simplest of what DALL·E 2 calls a prior (Ramesh et al. 2022).

        Parameters
        ----------
        texts : sequence of str

        Returns
        -------
        ndarray, shape (N, E), float32
            Of length 1.
        """
        vectors = self._prior.linear(self.clip.embed_text(texts))
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def predict_text(
        self,
        text: str,
        point_coords: npt.ArrayLike | None = None,
        point_labels: npt.ArrayLike | None = None,
        box: npt.ArrayLike | None = None,
        mask_input: npt.ArrayLike | None = None,
        multimask_output: bool | None = None,
        return_logits: bool = False,
        *,
        strict: bool = False,
    ) -> Answer:
        """Masks for words, alone or together with other prompts.

        Parameters
        ----------
        text : str
            "a red car", "the wheel of the red car". The towers know the nouns of ``minisam.clip.vocabulary``; it finds
            the known noun for another one.
        point_coords, point_labels, box, mask_input, return_logits, strict
            As in ``predict``.
        multimask_output : bool, optional
            Three masks, or one; by default three for words alone, and one for words with another prompt.

        Returns
        -------
        masks, iou_predictions, low_res_logits : ndarray
            As from ``predict``. With three masks, take the one of the highest predicted IoU.

        Raises
        ------
        InputError
            As in ``predict``; also if the text has no word that the towers can read.
        """
        embeddings = self.embed_texts([text])
        prompts = (one_prompt("point_coords", point_coords), one_prompt("point_labels", point_labels), one_box(box))
        masks = one_prompt("mask_input", mask_input)
        several = all(prompt is None for prompt in (*prompts, masks)) if multimask_output is None else multimask_output
        answer = self._answer(*prompts, masks, several, return_logits, strict, embeddings)
        return answer[0][0], answer[1][0], answer[2][0]

    def predict_embeddings(
        self,
        embeddings: npt.ArrayLike,
        point_coords: npt.ArrayLike | None = None,
        point_labels: npt.ArrayLike | None = None,
        boxes: npt.ArrayLike | None = None,
        mask_input: npt.ArrayLike | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
        *,
        strict: bool = False,
    ) -> Answer:
        """Masks for B embeddings of texts or of crops: everything as in ``predict_batch``.

        Parameters
        ----------
        embeddings : array_like, shape (B, E)
            As the towers give them, of length 1.
        point_coords, point_labels, boxes, mask_input, multimask_output, return_logits, strict
            As in ``predict_batch``.

        Returns
        -------
        masks, iou_predictions, low_res_logits : ndarray
            (B, M, H, W), (B, M) and (B, M, L, L).
        """
        texts = as_numbers("embeddings", embeddings)
        options = (multimask_output, return_logits, strict)
        return self._answer(point_coords, point_labels, boxes, mask_input, *options, texts)
