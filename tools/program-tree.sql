WITH RECURSIVE
  process AS (SELECT pid, min(ppid) AS ppid, min(event_id) AS first, max(comm) AS comm
              FROM syscalls GROUP BY pid),
  program AS (SELECT pid, max(event_id), (SELECT group_concat(value, ' ') FROM json_each(argv)) AS argv
              FROM syscalls WHERE argv IS NOT NULL AND success = 1 GROUP BY pid),
  tree (pid, depth, place) AS (
    SELECT pid, 0, printf('%020d', first) FROM process WHERE ppid = ROOT
    UNION ALL
    SELECT p.pid, tree.depth + 1, tree.place || printf('%020d', p.first)
    FROM process p JOIN tree ON p.ppid = tree.pid)
SELECT pid, substr(printf('%*s', depth * 2, '') || replace(coalesce(argv, '(' || comm || ')'), char(10), ' '), 1, 90) AS program
FROM tree JOIN process USING (pid) LEFT JOIN program USING (pid) ORDER BY place LIMIT 30
