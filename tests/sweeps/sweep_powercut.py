"""A power cut at every moment of a run: what may be left on the disk is rebuilt from a record of its writes (the model is
that of disk_model.py), and resumed from.

States: after each event, with all of it and with only what was synced; each single event that is pending left out; and
random subsets of what is pending, torn and zeroed sectors included (10,000 with --full). States that differ in nothing that is
ever read again, leftovers under temporary names that is, are looked at once.
Required: the newest checkpoint that counts as whole is, byte for byte, one that the undisturbed run wrote; no checkpoint is
lost that was saved before the cut (renamed, and its folder synced); the run that is resumed from the state ends with the
weights, the logs and the callbacks' files of the undisturbed one, or says that it is done and is."""
import hashlib
import pathlib
import random
import re
import shutil
import subprocess

import disk_model
import sweep
import tiny

dltrain = tiny.dltrain
NEWEST = dltrain.os.environ.get("DLTRAIN_NEWEST", str(dltrain.BUILD / "tests" / "newest_checkpoint"))
STEP = re.compile(r"step-0*(\d+)\.weights\.h5")
LEFTOVER = re.compile(r"(^|/)(\.[^/]*\.tmp-\d+-\d+|[^/]*\.tmp-\d+)$")
PIECE = 50  # draws that a worker takes at a time


class Cut:
    """What a worker knows: the record of the undisturbed run in its own folder."""

    def __init__(self, slot):
        path = slot.path / "record"
        self.slot = slot
        before = {p.name: p.read_bytes() for p in slot.fresh().iterdir()}
        result = tiny.fit(slot.folder, program=sweep.FAULTS, DLTRAIN_RECORD_FILE=str(path))
        assert result.returncode == dltrain.DONE, result.stderr
        self.expected = tiny.outcome(slot.folder)
        self.record = disk_model.Record(path, slot.folder, before)
        whole = self.record.state(len(self.record.ops), {})
        on_disk = {str(p.relative_to(slot.folder)) for p in slot.folder.rglob("*")}
        assert whole.keys() == on_disk, whole.keys() ^ on_disk  # the record tells everything
        for name, content in whole.items():
            assert not isinstance(content, bytes) or content == (slot.folder / name).read_bytes(), name
        # every checkpoint that it wrote, and when it was safe
        self.written, self.saved, waiting = {}, [], []
        for op in self.record.ops:
            for name, inode in op.changes.items() if op.kind == "name" else ():
                step = STEP.fullmatch(name)
                if step and inode is not None:
                    state = self.record.state(op.index + 1, {})
                    self.written[name] = hashlib.sha256(state["run/checkpoints/" + name]).digest()
                    waiting.append((op.inode, int(step[1])))
            if op.kind == "sync":
                self.saved += [(op.index, step) for folder, step in waiting if folder == op.inode]
                waiting = [w for w in waiting if w[0] != op.inode]
        self.boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip().encode()
        self.newest = subprocess.Popen([NEWEST], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.seen = {}

    def saved_before(self, cut):
        return max((step for index, step in self.saved if index < cut), default=-1)

    def key(self, state):
        """What of a state can make a difference."""
        digest = hashlib.sha256()
        for name, content in sorted(state.items()):
            if not LEFTOVER.search(name):
                digest.update(repr((name, content if isinstance(content, str) else
                                    content and hashlib.sha256(content).digest())).encode())
        return digest.digest()


def look(s, cut, at, fate, what):
    state = cut.record.state(at, fate, random.Random(at))
    s.count("states")
    key = cut.key(state)
    least = cut.saved_before(at)
    if cut.seen.get(key, -2) >= least:
        return
    known = key in cut.seen
    cut.seen[key] = least
    shutil.rmtree(cut.slot.folder, ignore_errors=True)
    cut.slot.folder.mkdir()
    if "run/lock" in state:  # after a power cut the machine has been booted again
        state["run/lock"] = state["run/lock"].replace(cut.boot, b"00000000-0000-0000-0000-000000000000")
    disk_model.put(state, cut.slot.folder)
    checkpoints = cut.slot.folder / "run" / "checkpoints"
    step = -1
    if checkpoints.is_dir():
        cut.newest.stdin.write(f"{checkpoints}\n")
        cut.newest.stdin.flush()
        said = cut.newest.stdout.readline().strip()
        step = int(said) if said.isdigit() else -1
        name = f"step-{step:012d}.weights.h5"
        if step >= 0 and hashlib.sha256((checkpoints / name).read_bytes()).digest() != cut.written.get(name):
            s.lost(f"{what}: {name} counts as whole and is not what was written")
    if step < least:
        s.lost(f"{what}: step {least} was saved, the newest now is {step}")
    if known:
        return
    s.count("distinct")
    result = tiny.fit(cut.slot.folder)
    differ = tiny.differences(tiny.outcome(cut.slot.folder), cut.expected)
    if result.returncode != dltrain.DONE or differ:
        s.lost(f"{what}: resumed from step {step}, it ends with {result.returncode}, {differ} differ: {result.stderr}")


def trial(s, cut, item):
    kind, number = item
    record = cut.record
    if kind == "cut":
        at = number * len(record.ops) // CUTS if not s.full else number
        if at > len(record.ops):
            return
        last = record.ops[at - 1] if at > 0 else None
        what = f"cut after event {at} ({last and last.kind})"
        look(s, cut, at, {}, what)
        pending = record.pending(at)
        look(s, cut, at, {op.index: disk_model.MISSING for op in pending}, f"{what}, only what was synced")
        for op in pending if s.full else s.random.sample(pending, min(3, len(pending))):
            look(s, cut, at, {op.index: disk_model.MISSING}, f"{what}, without event {op.index} ({op.kind})")
            if op.kind == "write":
                look(s, cut, at, {op.index: disk_model.ZEROS}, f"{what}, zeros for event {op.index}")
    else:
        for draw in range(number, number + PIECE):
            drawn = random.Random(f"{s.seed}/{draw}")
            at = drawn.randrange(len(record.ops) + 1)
            loose = draw % 3 == 0
            look(s, cut, at, record.any_fate(at, drawn, loose),
                 f"draw {draw} of seed {s.seed}: cut after event {at}{', names in any order' if loose else ''}")


CUTS = 100  # of the gate; the record of a run has about 650 events
s = sweep.Sweep("powercut", __doc__.splitlines()[0])
draws = s.drawn(300, 10000)
items = [("cut", n) for n in (range(1500) if s.full else range(CUTS + 1))] + [("draw", n) for n in range(0, draws, PIECE)]
tiny.in_slots(s, Cut, lambda slot, cut, item: trial(s, cut, item), items)
s.finish("distinct")
