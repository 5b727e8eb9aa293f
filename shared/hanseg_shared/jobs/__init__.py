"""A job and its states: the row that is the truth, and the rules that change it."""
