"""Data sets on disk: their cases, and the contours of each.

`find` recognises a data set's layout; one module a layout reads it (`han_seg`,
`openkbp`, `folder`). All give the same: a `dataset.Dataset` of cases, whose labels
a `declaration.Declaration` says in terms of our 30 organs.
"""
