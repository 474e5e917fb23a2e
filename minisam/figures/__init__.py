"""The figures that the chapters show. They need the extra ``book``; nothing in the rest of minisam imports them.

atlas.py   real outputs of the real model at a grid of points, for pages without Python
click.py   ClickFigure: a picture, a click, three masks (click.js draws it, click.css dresses it)
states.py  sliders over pictures that were computed beforehand
"""
