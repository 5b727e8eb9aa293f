"""The linter's rules, by kind of object."""
