#!/usr/bin/env bash
# pyEdgeEval's binary_thin may leave an image as it is although MATLAB's bwmorph(…, 'thin', inf) would thin it.
#
# Expected: thinning (Guo and Hall 1989) alternates two passes until neither removes a pixel. BSDS's evaluation thins
# every map so, and binary_thin "will automatically terminate when no more changes occur".
# Seen: it ends as soon as the first pass removes nothing, without trying the second. Of three pixels in a corner the
# second pass removes one; binary_thin returns all three, scikit-image's thin two. On whole images its
# counts agree within .2 %.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pyEdgeEval==0.2.8 numpy==2.4.6 scipy==1.17.1 scikit-image==0.26.0 \
    opencv-python-headless==5.0.0.93
"$folder/venv/bin/python" - <<'EOF'
import numpy as np
from pyEdgeEval.preprocess.thin import binary_thin
from skimage.morphology import thin

corner = np.array([[1, 1], [1, 0]], bool)
seen, expected = int(binary_thin(corner).sum()), int(thin(corner).sum())
print(f"expected: {expected} pixels, as of scikit-image. seen: {seen} of {int(corner.sum())}")
assert (seen, expected) == (3, 2), "changed"
EOF
