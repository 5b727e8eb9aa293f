"""Where the head and the MR's data are, and the motions between CT and MR."""
