"""Candle files: facts in their names, readers of their tables, and the writer for exports.

Order of an import: `table_files` lists the tables of a file, `file_names` parses their names,
`table_series` plans what is read, `table_reader` reads a table into a `Spool` with one of the
readers `csv_blocks`, `json_blocks` and `arrow_blocks`.
"""
