"""A folder that cases are put into: each is sent once, when all of it has arrived."""
