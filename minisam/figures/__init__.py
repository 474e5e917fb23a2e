"""The figures that the chapters show. They need the extra ``book``; nothing in the rest of minisam imports them.

Each can be used by itself in any notebook, ``from minisam.figures.three_masks import three_masks; three_masks()``.

states         sliders over pictures that were computed beforehand: what most figures are made of
overlay, paint, measure                     masks, numbers and outlines on pictures; errors and times
atlas, committed                            outputs of the model for pages without Python; the benchmark's JSON

0   click                                   a picture, a click, three masks (click.js draws it)
1   score, one_pixel, runs (subjects)       paint a mask and score it (score.js); outlines; run lengths
2   patch_filters, patch_rebuild, similar_tokens (tokens)
3   reach, pairs, pad_share (encoder_attention)
4   bias_map, bias_off
5   position_similarity, same_click, mask_prompt
6   attention_maps, listening, left_out (decoder_steps)
7   dot_product, upscaling, thresholds
8   focal_curves, loss_maps, background, iou_regression
9   three_masks, averaging, multimask
10  interaction, who_wins                   (after it) ablations
11  amortised, where, roofline
12  funnel, stability, grids (candidates)
15  failures, one_thing, doubts
"""
