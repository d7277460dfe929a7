"""Rule sets that come with auditsvc, in auditctl's language."""
