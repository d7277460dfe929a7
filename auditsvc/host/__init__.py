"""What the host says of itself: processes, users, signals, files, terminals, netlink sockets."""
