"""The figures that the chapters show. They need the extra ``book``; nothing in the rest of minisam imports them.

Each can be used by itself in any notebook, ``from minisam.figures.three_masks import three_masks; three_masks()``.

============ ===================================================================================================
``shared``   what several figures draw with: ``states`` are sliders over images computed beforehand, which most
             figures are made of; ``overlay``, ``paint`` and ``canvas.js`` put masks and outlines on images;
             ``encoding`` writes images and masks for a page, ``masks.js`` reads the masks there
chapter 0    click (click.js draws it)
chapter 1    score (score.js draws it), one_pixel, runs
chapter 2    patch_filters, patch_rebuild, similar_tokens
chapter 3    reach, pairs, pad_share
chapter 4    bias_map, bias_off
chapter 5    position_similarity, same_click, mask_prompt
chapter 6    attention_maps, pixel_attention, left_out
chapter 7    dot_product, upscaling, thresholds
chapter 8    focal_curves, loss_maps, background, iou_regression
chapter 9    three_masks, averaging, multimask
chapter 10   interaction, who_wins; after it ablations
chapter 11   amortised, profile, roofline
chapter 12   funnel, stability, grids
chapter 14   oracle_gap, metric_and_truth, blind_rater, edge_map, words, modality_gap
chapter 15   failures, one_thing, photo_failures
============ ===================================================================================================
"""
