"""Databases of both kinds, as the tests of jobs have them."""

from tests.jobs.conftest import database

__all__ = ["database"]
