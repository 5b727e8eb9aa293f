"""The tables of the database, one class of verbs for each concern."""
