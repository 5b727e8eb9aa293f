"""How accurate, fast and honest the registration is; see `__main__`."""
