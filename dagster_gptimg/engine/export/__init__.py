"""Exports: the images of a dataset as files that other programs open, with the table's columns beside them.

`export.py` leads one through its steps. `plan.py` keeps what belongs to it in a temporary database, so that memory does
not grow with the number of images: `selection.py` fills it from the image tables, `names.py` makes and checks file
names, `columns.py` finds the columns and their types. `target.py` says what is in the folder already, and
`export_list.py` keeps the export's own list there, by which a later export goes on. `copying.py` reads images and
compares their hashes. `options.py` has what is asked for and what comes of it, `job.py` what all layouts need,
`words.py` what people are told.

A module a layout: `folder.py`, `imagefolder.py` (both write a file an image: `files.py`), `webdataset.py`,
`parquet.py`, `zip_file.py` (files of many images each: `packs.py`).
"""
