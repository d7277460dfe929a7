#!/bin/sh
# What is recorded for the `real` log: find, tar, gcc, python and sockets, again and again.
#
#     mix.sh FOLDER MEGABYTES LOG     until LOG has so many megabytes
set -eu
folder=$1 most=$2 log=$3
cd "$folder"
round=0
while [ "$(($(stat -c %s "$log") >> 20))" -lt "$most" ]; do
    round=$((round + 1))
    mkdir "$round"
    find /usr/share /etc -xdev -newermt "2024-01-$((round % 28 + 1))" -type f > "$round/found"
    tar -cf "$round/some.tar" -C /usr/include .
    mkdir "$round/out"
    tar -xf "$round/some.tar" -C "$round/out"
    for n in 1 2 3 4 5 6; do
        printf '#include <stdio.h>\nint main(void) { printf("%d"); return 0; }\n' "$n" > "$round/$n.c"
        gcc -O1 -o "$round/$n" "$round/$n.c"
        "./$round/$n" > /dev/null
    done
    python3 - "$round/out" <<'PROGRAM'
import os
import socket
import sys
import threading

for folder, _, names in os.walk(sys.argv[1]):
    for name in names[:40]:
        with open(os.path.join(folder, name), "rb") as stream:
            stream.read()

with socket.create_server(("127.0.0.1", 0)) as server:

    def answer():
        for _ in range(300):
            accepted, _ = server.accept()
            with accepted:
                accepted.sendall(accepted.recv(100))

    thread = threading.Thread(target=answer)
    thread.start()
    for n in range(300):
        with socket.create_connection(server.getsockname()) as client:
            client.sendall(b"%d" % n)
            client.recv(100)
    thread.join()
for n in range(300):
    try:
        os.unlink(f"/nonexistent/{n}")
    except OSError:
        pass
PROGRAM
    grep -r -l stdio.h "$round/out" > "$round/names"
    rm -rf "$round"
done
