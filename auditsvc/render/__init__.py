"""Answers as text: rows, tables, JSON, HTML."""
