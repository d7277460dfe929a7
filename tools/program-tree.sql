WITH RECURSIVE
  execs AS (SELECT pid, min(ppid) AS ppid, min(event_id) AS first, proctitle FROM syscalls
            WHERE syscall = 'execve' AND success = 1 GROUP BY pid, proctitle),
  tree (pid, depth, path, line) AS (
    SELECT pid, 0, printf('%020d', first), proctitle FROM execs
    WHERE ppid NOT IN (SELECT pid FROM execs)
    UNION ALL
    SELECT e.pid, tree.depth + 1, tree.path || printf('%020d', e.first), e.proctitle
    FROM execs e JOIN tree ON e.ppid = tree.pid WHERE tree.depth < 10)
SELECT pid, substr(printf('%*s', depth * 2, '') || line, 1, 90) AS program FROM tree ORDER BY path LIMIT 40
