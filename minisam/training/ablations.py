"""``python -m minisam.training.ablations`` still runs: the ablations live in ``minisam.experiments`` now."""

import runpy

if __name__ == "__main__":
    runpy.run_module("minisam.experiments.ablations", run_name="__main__")
