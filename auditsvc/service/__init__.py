"""`auditsvc run`: one source, one spool, one store; restores the kernel's state at the end.

wiring      makes the parts of a run and connects them
run         starts the parts, monitors them, ends them
exclusions  rules that exclude the service's helpers, so that their calls are not audited
loading     the store's side: opens the store and the log, and loads
loader_*    the process that does that, without capabilities; frames: what goes between the two
remote_*    that process, as the run has it
health      errors of the parts: in the log, in `status`, at the end of a run
"""
