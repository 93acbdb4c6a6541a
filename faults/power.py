"""A server whose writes, flushes and answers are on record, and what a disk would hold had the power failed at any
point of that record. Shared by the experiments on power loss and on the order of flushes."""

import re
import struct
import subprocess
from pathlib import Path

SOURCE = Path(__file__).resolve().parent / "shim/power.c"
HEAD = struct.Struct("<BQqI")
SECTOR = 512
ANSWER = re.compile(rb"HTTP/1\.1 200 .*?\r\nx-request-id: ([^\r]+)\r\n", re.IGNORECASE | re.DOTALL)


def environment(folder, watched, flush_us=0):
    """Compiles the shim into `folder`; gives the variables that make a server keep a record of `watched`."""
    shim = folder / "power.so"
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", shim, SOURCE, "-ldl", "-lpthread"], check=True)
    return {"LD_PRELOAD": str(shim), "POWER_LOG": str(folder / "record"), "POWER_FOLDER": str(watched),
            "POWER_FLUSH_US": str(flush_us)}


def read(path):
    """Every note as (kind, file, offset, data), in order."""
    notes, record, at = [], Path(path).read_bytes(), 0
    while at + HEAD.size <= len(record):
        kind, file, offset, length = HEAD.unpack_from(record, at)
        at += HEAD.size
        notes.append((chr(kind), file, offset, record[at:at + length]))
        at += length
    return notes


def answered(note):
    """The request's id when the note is an answer of 200."""
    found = ANSWER.match(note[3]) if note[0] == "S" else None
    return found and found.group(1).decode()


class File:
    def __init__(self):
        self.durable, self.pending = bytearray(), []


def apply(content, note, random=None):
    """Does a write or a truncation; with `random` only those sectors of it that chance keeps."""
    kind, _, offset, data = note
    if kind == "T":
        if offset < len(content):
            del content[offset:]
        else:
            content.extend(bytes(offset - len(content)))
        return
    if offset + len(data) > len(content):
        content.extend(bytes(offset + len(data) - len(content)))
    if random is None:
        content[offset:offset + len(data)] = data
        return
    at = 0
    while at < len(data):
        end = min(len(data), (offset + at) // SECTOR * SECTOR + SECTOR - offset)
        if random.random() < 0.5:
            content[offset + at:offset + end] = data[at:end]
        at = end


class Disk:
    """What of a database's files is on the disk, note by note. A name is surely there when its folder was flushed."""

    def __init__(self, database):
        self.database = str(database)
        self.files, self.live, self.durable, self.pending = {}, {}, {}, []
        self.begun = {}

    def feed(self, note):
        kind, number, offset, data = note
        if kind == "O":
            path = data.decode()
            if path.startswith(self.database) and path not in self.live:
                # The number may have been another file's, now deleted.
                file = File()
                self.files[number] = self.live[path] = file
                self.pending.append((path, file))
        elif kind == "U":
            path = data.decode()
            self.live.pop(path, None)
            self.pending.append((path, None))
        elif kind in "WT" and number in self.files:
            self.files[number].pending.append(note)
        elif kind == "B":
            file = self.files.get(number)
            # What is waiting by now is what this flush will have put on the disk.
            self.begun[offset] = (file, list(self.pending) if file is None else file.pending[-1:])
        elif kind == "E":
            file, seen = self.begun.pop(offset)
            if file is None:
                for change in seen:
                    if any(change is other for other in self.pending):
                        self._name(self.durable, change)
                self.pending = [change for change in self.pending if not any(change is other for other in seen)]
            else:
                # Another flush may have been faster.
                where = [index for index, other in enumerate(file.pending) if seen and other is seen[0]]
                if where:
                    for other in file.pending[:where[0] + 1]:
                        apply(file.durable, other)
                    del file.pending[:where[0] + 1]

    @staticmethod
    def _name(names, change):
        path, file = change
        if file is None:
            names.pop(path, None)
        else:
            names[path] = file

    def after_power_loss(self, random=None):
        """What is there by path: without `random` nothing that was not flushed, else a part of it by chance."""
        names = dict(self.durable)
        for change in self.pending:
            if random is not None and random.random() < 0.5:
                self._name(names, change)
        found = {}
        for path, file in names.items():
            content = bytearray(file.durable)
            for note in file.pending if random is not None else ():
                chance = random.random()
                if chance < 0.6:
                    apply(content, note, None if chance < 0.4 else random)
            found[path] = content
        return found

    def now(self):
        """What the program sees by path."""
        found = {}
        for path, file in self.live.items():
            content = bytearray(file.durable)
            for note in file.pending:
                apply(content, note)
            found[path] = content
        return found
