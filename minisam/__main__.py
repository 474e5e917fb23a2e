"""``python -m minisam`` is the command ``minisam``."""

from __future__ import annotations

import sys

from minisam.cli import main

sys.exit(main())
