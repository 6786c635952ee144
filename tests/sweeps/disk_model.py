"""What may be on a disk after a power cut, worked out from a record of what a program did to it (tests/sweeps/fault_file.c).

The model, which is POSIX' promise and no more than that:
  - fsync of a file makes its data and length durable, fsync of a folder the names in it. Neither does the other's work: the name
    of a synced file may be missing, the data behind a synced name too, and the folder itself if the one above was not synced.
  - Everything else is pending. A write that is pending may have reached the disk, or not; or only some of its 512-byte sectors
    did; or only the new length, so that there are zeros. A change of length may have happened or not.
  - A rename is one event: both names change or none does.
  - Names that are pending in one folder reach the disk in their order, those of different folders and all data in any order:
    that is what journalling file systems do (ext4, XFS, btrfs). With `loose`, those of one folder come in any order as well.
What fsync said was durable stays. The disk does not lie, and it does not damage what it was not told to write.
"""
import os
import posixpath

SECTOR = 512
FULL, MISSING, ZEROS, TORN = range(4)


class Op:
    """One event. kind: write, truncate (of a file), name (in a folder) or sync. durable: index of the sync that ends its
    being pending."""

    def __init__(self, index, kind, inode, **more):
        self.index, self.kind, self.inode, self.durable = index, kind, inode, None
        self.__dict__.update(more)


class Record:
    """The events of a run in `root`, which held the files `before` and nothing else, all of it durable."""

    def __init__(self, path, root, before):
        self.root, self.ops = str(root), []
        self.folders, self.links = {0}, {}  # inodes of folders; targets of symbolic links
        self.count = 1
        self.names = {(0, ""): 0}  # (folder, name): inode, as the program sees it
        self.before = {}
        for name, data in before.items():
            self.names[0, name] = self.count
            self.before[self.count] = (name, data)
            self.count += 1
        self.files = {}  # descriptors
        self.events = []  # (index, text) of what else is of interest
        data = open(path, "rb").read()
        at = 0
        while at < len(data):
            end = data.index(b"\n", at)
            fields = data[at:end].decode().split("\t")
            at = end + 1
            payload = b""
            if fields[0] == "write":
                payload = data[at:at + int(fields[3])]
                at += int(fields[3])
            getattr(self, "do_" + fields[0])(fields[1:], payload)
        self._find_durable()

    def _new(self):
        self.count += 1
        return self.count - 1

    def _split(self, path):
        """(inode of the folder, name), or None for what lies elsewhere."""
        path = posixpath.normpath(posixpath.join(self.root, path))
        if path == self.root:
            return 0, ""
        if not path.startswith(self.root + "/"):
            return None
        folder = 0
        *above, name = path[len(self.root) + 1:].split("/")
        for part in above:
            folder = self.names[folder, part]
        return folder, name

    def _name(self, folder, changes):
        for name, inode in changes.items():
            if inode is None:
                self.names.pop((folder, name), None)
            else:
                self.names[folder, name] = inode
        self.ops.append(Op(len(self.ops), "name", folder, changes=changes))

    def do_open(self, fields, _data):
        descriptor, path, flags = int(fields[0]), fields[1], fields[2] if len(fields) > 2 else ""
        place = self._split(path)
        self.files[descriptor] = None
        if place is None:
            return
        inode = self.names.get(place)
        if inode is None and "c" in flags:
            inode = self._new()
            self._name(place[0], {place[1]: inode})
        elif "t" in flags:
            self.ops.append(Op(len(self.ops), "truncate", inode, size=0))
        self.files[descriptor] = inode

    def do_close(self, fields, _data):
        self.files.pop(int(fields[0]), None)

    def do_write(self, fields, data):
        inode = self.files.get(int(fields[0]))
        if inode is not None:
            self.ops.append(Op(len(self.ops), "write", inode, offset=int(fields[1]), data=data))

    def do_truncate(self, fields, _data):
        inode = self.files.get(int(fields[0]))
        if inode is not None:
            self.ops.append(Op(len(self.ops), "truncate", inode, size=int(fields[1])))

    def do_sync(self, fields, _data):
        inode = self.files.get(int(fields[0]))
        if inode is not None:
            self.ops.append(Op(len(self.ops), "sync", inode))

    def do_rename(self, fields, _data):
        (folder, old), (other, new) = self._split(fields[0]), self._split(fields[1])
        assert folder == other, "a rename between folders is not modelled"
        self._name(folder, {old: None, new: self.names[folder, old]})

    def do_unlink(self, fields, _data):
        folder, name = self._split(fields[0])
        self._name(folder, {name: None})

    do_rmdir = do_unlink

    def do_mkdir(self, fields, _data):
        place = self._split(fields[0])
        if place is not None:
            inode = self._new()
            self.folders.add(inode)
            self._name(place[0], {place[1]: inode})

    def do_symlink(self, fields, _data):
        folder, name = self._split(fields[0])
        inode = self._new()
        self.links[inode] = fields[1]
        self._name(folder, {name: inode})

    def _find_durable(self):
        end = len(self.ops)
        synced = {}  # inode: index of the next sync
        for op in reversed(self.ops):
            if op.kind == "sync":
                synced[op.inode] = op.index
            else:
                op.durable = synced.get(op.inode, end + 1)

    # ---- states ----

    def pending(self, cut):
        """What a power cut before the event `cut` may lose."""
        return [op for op in self.ops[:cut] if op.kind != "sync" and op.durable >= cut]

    def state(self, cut, fate, random=None):
        """The disk after a power cut before event `cut`: {path: bytes, or str for a symbolic link, or None for a folder}.
        fate: {index: FULL, MISSING, ZEROS or TORN} of pending events; the others are there."""
        names, data = {}, {}
        for inode, (name, content) in self.before.items():
            names[0, name] = inode
            data[inode] = bytearray(content)
        for op in self.ops[:cut]:
            how = fate.get(op.index, FULL)
            if op.kind == "sync" or how == MISSING:
                continue
            if op.kind == "name":
                for name, inode in op.changes.items():
                    names[op.inode, name] = inode
                continue
            content = data.setdefault(op.inode, bytearray())
            if op.kind == "truncate":
                del content[op.size:]
                content.extend(bytes(op.size - len(content)))
                continue
            end = op.offset + len(op.data)
            if end > len(content):
                content.extend(bytes(end - len(content)))
            if how == FULL:
                content[op.offset:end] = op.data
            elif how == TORN:
                at = op.offset
                while at < end:
                    to = min(end, (at // SECTOR + 1) * SECTOR)
                    if random.random() < 0.5:
                        content[at:to] = op.data[at - op.offset:to - op.offset]
                    at = to
        found = {}
        self._walk(0, "", names, data, found)
        return found

    def _walk(self, folder, path, names, data, found):
        for (above, name), inode in names.items():
            if above != folder or inode is None or name == "":
                continue
            here = path + name
            if inode in self.folders:
                found[here] = None
                self._walk(inode, here + "/", names, data, found)
            elif inode in self.links:
                found[here] = self.links[inode]
            else:
                found[here] = bytes(data.get(inode, b""))

    def any_fate(self, cut, random, loose):
        """A fate drawn for each pending event."""
        fate, stopped = {}, set()
        # now and then nearly all is lost or nearly nothing, which evenly drawn ones never show
        share = random.choice((0.02, 0.2, 0.5, 0.8, 0.98))
        for op in self.pending(cut):
            lost = random.random() < share
            if op.kind == "name" and not loose:
                if lost:
                    stopped.add(op.inode)
                lost = op.inode in stopped
            if lost:
                how = (MISSING, ZEROS, TORN)[random.randrange(3)] if op.kind == "write" else MISSING
                fate[op.index] = how
        return fate


def put(state, folder):
    """Makes a state in a folder, which must be empty."""
    for path, content in sorted(state.items(), key=lambda item: item[0].count("/")):
        here = os.path.join(folder, path)
        if content is None:
            os.mkdir(here)
        elif isinstance(content, str):
            os.symlink(content, here)
        else:
            with open(here, "wb") as file:
                file.write(content)
