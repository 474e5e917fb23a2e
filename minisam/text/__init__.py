"""SAM asked in words: ``TextPredictor`` finds what a text denotes, ``Instances`` every instance of it.

from minisam.text import TextPredictor, with_text
predictor = TextPredictor(with_text(minisam.load("tiny")))
predictor.set_image(photo)
masks, iou_predictions, low_res_logits = predictor.predict_text("a red car")
"""

from minisam.text.instances import Instances
from minisam.text.predictor import TextPredictor, with_text

__all__ = ["Instances", "TextPredictor", "with_text"]
