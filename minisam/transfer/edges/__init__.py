"""Edge detection without training for it (SAM, section 7.2 and appendix D.2), and BSDS's measure of it, from scratch.

boundaries      masks of a grid of points → an edge map
thinning        edge NMS, and thinning of what a threshold leaves
correspondence  the one-to-one correspondence of two sets of edge pixels
scores          ODS, OIS, AP, R50
baselines       Sobel, Canny, Felzenszwalb's regions; hed is a trained one
bsds            BSDS500's files, SA-1B's schema with annotators, scenes of the world
task            ``minisam transfer edges``
"""
