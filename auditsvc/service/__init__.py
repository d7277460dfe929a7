"""`auditsvc run`: one source, one spool, one store, and the kernel left as it was found.

wiring      which parts a run has, by its source
run         begins them, watches over them, ends them
exclusions  rules that keep the service's helpers from feeding it with their own calls
health      what works and what does not: the log, `status`, the end of a run
"""
