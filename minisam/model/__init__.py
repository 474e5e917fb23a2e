"""The model, to be read first; README.md beside this file says in which order. ``minisam.sam`` joins its parts."""
