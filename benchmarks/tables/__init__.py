"""The tables of the page, one a module."""
