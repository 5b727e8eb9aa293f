"""The files of a result: masks, record, picture."""
