"""Searching a store for events, in the words of ausearch and beyond them."""
