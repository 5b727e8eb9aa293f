"""What is looked for in a data set before anything is trained on it.

`look` reads one case and tells what is amiss in it; `check` does so for every case,
and compares them. Drawings are judged in `outlines` and `sides`, images in
`likeness`.
"""
