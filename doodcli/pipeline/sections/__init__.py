"""The sections of a report, in the paper's order, from the files of a folder of results.

Nothing is measured here: means over seeds and the like come from the experiments' own summaries
of their tables.
"""
