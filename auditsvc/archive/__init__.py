"""The archive of one host: days that are over as Parquet files, in a folder or an S3 bucket.

    views.py      what is archived, and which rows are of a day
    rows.py       rows of the store's views, in the form that the files have
    place.py      a folder or a bucket
    credentials.py  the keys of a bucket
    manifest.py   one JSON text for each part of a day: its files with their digests, in a chain
    part.py       the files of one part
    job.py        one pass over the store: what is due, written and noted
    source.py     where the rows of the views are: files, and what only the store has
    ask.py        SQL over archive and store as one (DuckDB)
    made_store.py  a store for a while, of what both have of a time, for reports
    check.py      what is changed, missing or additional
    report.py     what is shown of it

It needs `pip install auditsvc[archive]`; who offers it imports it by `auditsvc.arrow.use`, and
nothing of it is imported while [archive] is not set.
"""
