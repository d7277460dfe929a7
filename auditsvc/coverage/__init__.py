"""Which tasks the kernel audits, why the others are not, and what to do about it.

    periods    what is known of this boot: when audit was on, when `never,task` stood
    logged     what the loaded rules log, and whom they take out
    evidence   whose own calls are in the store
    judge      task + all of the above -> covered, not covered, unknown or exempt
    look       one look at the whole host
    watch      the running service's looks, written into the log: the view `coverage`

Nobody is called covered without a ground. The two grounds that there are: a call of its
own was logged, or it was forked while audit had been on and it is known that no
`never,task` rule stood. docs/decisions/0006-coverage.md says what was weighed.
"""
