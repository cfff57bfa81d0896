"""The report of `tailwag fit`: one page, its figures as files, every number as a table."""
