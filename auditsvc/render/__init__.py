"""Writes results as text: rows, tables, JSON, HTML."""
