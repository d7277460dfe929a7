"""Which tasks the kernel audits, why the others are not, and what to do about it.

    history      what is known of this boot: when audit was on, when `never,task` stood
    rule_effect  what the loaded rules log, and whom they take out
    proofs       whose own calls are in the store
    judge        task + all of the above -> covered, not covered, unknown or exempt
    snapshot     the judgements of one moment, and their sum
    report       takes such a snapshot of this host
    watch        the running service's snapshots, written into the log: the view `coverage`

No task is called covered without proof. There are two proofs: a call of its own was
logged, or it was forked while audit had been on and it is known that no `never,task`
rule stood. docs/decisions/0006-coverage.md says what was weighed.
"""
