"""The settled index: what is done, by request key, in one columnar read.

`rows` says what a line is and in which columns it is stored; `pieces` has the Parquet files, in the store and their
copies on this machine, and `piece_names` what they are called; `lines` holds in memory what counting needs of every
line, `row_file` on disk what is asked for line by line; `index` puts these together, and is what others use.
"""
