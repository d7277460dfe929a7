"""Which tasks the kernel audits, why the others are not, and what to do about it.

    history      what is known of this boot: when audit was on, when a `never,task` rule was loaded
    rule_effect  what the loaded rules log, and which processes they exclude
    proofs       which processes have calls of their own in the store
    judge        task + all of the above -> covered, not covered, unknown or exempt
    snapshot     the judgements of one moment, and their totals
    report       takes such a snapshot of this host
    watch        the running service's looks, written into the log: the view `coverage`

No task is called covered without proof. There are two proofs: a call of its own was
logged, or it was forked while audit had been on and it is known that no `never,task`
rule was loaded. docs/decisions/0006-coverage.md gives the reasons.
"""
