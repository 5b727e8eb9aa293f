"""The programs that optimise a pose: elastix, and ANTs where a site has it."""
