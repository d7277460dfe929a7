"""Facts and functions of the host: processes, users, signals, files, terminals, sockets."""
