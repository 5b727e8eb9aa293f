"""The history of the schema: one file for each change, run when a database is opened.

To change a table: change `hanseg_shared.jobs.schema`, add a file to ``versions`` that
does the same to an existing database, and set `hanseg_shared.jobs.schema.REVISION` to
its name. A revision is named by the version of the service that brings it and a number,
such as ``0.2.0_1``, so that an older program can say which version is needed.
A file that was released is never changed.
"""
