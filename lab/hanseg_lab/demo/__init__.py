"""Two real patients, from a public archive through the whole service to a picture."""
