"""The systemd journal: whole events into it, and journald's own audit entries out of it."""
