"""Checks of a data set before anything is trained on it.

`look` reads one case and reports its errors; `data_check` does so for every case and
compares the cases. Contours are checked in `outlines` and `sides`, images in
`likeness`.
"""
