#!/usr/bin/env python3
"""Sends events to pinrelay and waits until each is on its disk.

As a program: python3 send.py /run/pinrelay/ingest.sock < events.ndjson
"""

import itertools
import json
import socket
import sys
import time

WINDOW = 100  # lines without an answer; more, and each side might wait for the other


class NotAcknowledged(Exception):
    """The daemon did not answer in time: keep the events, and send them again."""


def send(events, path="/run/pinrelay/ingest.sock", patience=30.0):
    """Gives one answer for each event, in order.

    Each event has its own messageId, made once and stored with what it tells of: sent again,
    it is recognised by that. Raises NotAcknowledged after `patience` seconds without progress.
    """
    lines = [json.dumps(event).encode() + b"\n" for event in events]
    answers = [None] * len(lines)
    left = list(range(len(lines)))
    since = time.monotonic()
    while left:
        trouble = "it has no room"
        try:
            for i, answer in exchange(path, lines, left[:WINDOW]):
                if answer["status"] != "unavailable":
                    answers[i] = answer
        except OSError as error:
            trouble = error
        before, left = len(left), [i for i in left if answers[i] is None]
        if len(left) < before:
            since = time.monotonic()
        elif time.monotonic() - since > patience:
            raise NotAcknowledged(f"{path}: {trouble}; {len(left)} events unanswered")
        else:
            time.sleep(0.2)
    return answers


def exchange(path, lines, which):
    """One connection: writes these lines, yields their answers as they come."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(10)
        connection.connect(path)
        connection.sendall(b"".join(lines[i] for i in which))
        with connection.makefile("rb") as reader:
            for i in which:
                line = reader.readline()
                if not line.endswith(b"\n"):  # cut off: no answer
                    raise ConnectionError("the connection ended")
                yield i, json.loads(line)


if __name__ == "__main__":
    while window := [json.loads(line) for line in itertools.islice(sys.stdin, WINDOW)]:
        for answer in send(window, *sys.argv[1:2]):
            print(json.dumps(answer), flush=True)
