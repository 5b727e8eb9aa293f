"""The steps of the search: first pose, mirror test, affine, deformation."""
