"""The service's pipeline in one container, with the interface of the HaN-Seg challenge.

`entry` is the program: it finds the `cases`, has each contoured in a process of its
own (`watch`, which runs `contour`), and keeps `results.json` true all the while.
"""
