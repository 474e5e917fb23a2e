"""How the model is trained (paper, section 3 and appendix A). Needs torch: the extra ``reference``.

``data`` makes images with masks, ``prompts`` plays the annotator, ``loop`` does the steps. ``minisam train`` runs it.
"""
