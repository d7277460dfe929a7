"""The tables of the page, one in each module."""
