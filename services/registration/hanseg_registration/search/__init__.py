"""The search for a pose: coarse, rigid, affine, deformable, and of the mirror image."""
