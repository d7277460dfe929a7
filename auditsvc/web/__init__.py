"""`auditsvc web`: pages over the store, for who would rather look than type.

A process of its own that only reads. `serve` listens, `gate` decides who may ask, `app` has the
addresses, `asking` runs SQL within limits and has each page recorded; the other modules make
one page each, as values that a template shows. It stands on `auditsvc.search`, `auditsvc.report`
and the views; nothing of the service imports it.
"""
