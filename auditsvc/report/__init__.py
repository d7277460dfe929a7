"""Reports on the store, by the rules of aureport: totals, lists of events, and sums of them.

`report.make_report` answers with values; who asks only shows them. Everything is read in one
transaction that cannot write, with SQL whose values are parameters.

    catalogue    the reports: which events, which columns, what a summary counts
    columns      what a report shows of an event, as SQL
    choice       which events are reported on: time, outcome, host, user
    details      the lists, an event a line
    summaries    the sums, largest first
    files, keys, avc, tty, logs    what has several values an event, or rows of its own
    totals       the report without a name: 25 numbers
    rollup       what the store has counted by the hour
    kinds        events without a call, those that are alike together, for many sums
    proof        what stands under a report: what was lost, and what is known of coverage

The reports count as aureport 3.0.9 does, except where it is wrong: docs/report.md names each
difference, and a test compares both programs.
"""
