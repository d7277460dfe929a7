"""Store -> systemd journal: chosen events, each once, by a process of its own."""
