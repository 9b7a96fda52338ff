"""The gallery of a dataset: one folder of static files in which people look at images and choose.

`build.py` writes it, `records.py` makes what the page shows of an image table's records, `facets.py` finds the
columns to filter by, `thumbnails.py` makes small images, `scripts.py` writes data that a page can load from disk.
`collage.py` puts thumbnails on one sheet, and `notebook_html.py` shows a few images in a notebook.

`page/` is the page itself: HTML, CSS and plain JavaScript, copied as it is. Its scripts by their jobs: `data.js` loads
records, `search.js` finds words, `filter.js` selects and sorts, `list.js` draws the tiles in sight, `viewer.js` shows
one image, `review.js` keeps verdicts, `rest.js` approves the rest, `server.js` sends verdicts where a server shows the
page (`cli/review_server/`), `main.js` connects them with controls and keys.
"""
