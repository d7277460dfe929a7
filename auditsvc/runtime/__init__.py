"""Small files in the runtime directory by which processes of ours tell one another."""
