"""Stands in for a phone that does not trust this machine, which adbd without Android cannot be: it answers each
signature with a new token, and waits when the key itself is shown, as a phone whose dialog nobody accepts.

Usage: unauthorized_phone.py PORT       It says so as soon as it listens.
Messages as in adb's protocol.txt: command, two arguments, length, sum, magic.
"""

import socket
import struct
import sys

HEADER = struct.Struct("<6I")
AUTH = int.from_bytes(b"AUTH", "little")
TOKEN, PUBLIC_KEY = 1, 3
token = bytes(range(20))
with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as listener:
    sys.stdout.write("listening\n")
    sys.stdout.flush()
    while True:
        link, _ = listener.accept()
        with link:
            while len(header := link.recv(HEADER.size, socket.MSG_WAITALL)) == HEADER.size:
                command, kind, _, length, _, _ = HEADER.unpack(header)
                link.recv(length, socket.MSG_WAITALL)
                if (command, kind) != (AUTH, PUBLIC_KEY):
                    link.sendall(HEADER.pack(AUTH, TOKEN, 0, len(token), sum(token), AUTH ^ 0xFFFFFFFF) + token)
