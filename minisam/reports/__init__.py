"""What the reports of ``verify``, ``bench``, the card and the ablations share: the machine, and tables."""
