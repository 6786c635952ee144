"""Disks of every size, in steps of 4 KiB: a run on a tmpfs that has so much room and no more, begun there or stopped in the
midst of its second epoch and resumed there. When it has ended, one way or another, the disk is given more room and the run
resumed: it must end with the weights, the logs and the callbacks' files of a run that always had room.

The disk is full when the program says so (No space left on device); sizes at which it never says so prove nothing and are
counted apart. Needs user namespaces, for mounting; where they are not permitted the sweep is skipped."""
import os
import subprocess
import sys

import sweep
import tiny

dltrain = tiny.dltrain
PAGE = 4096
ROOM = 256 << 20
FULL = "No space left on device"
CODES = (dltrain.DONE, dltrain.CHECKPOINT, dltrain.OUTPUT)
INSIDE = "DLTRAIN_SWEEP_DISK_INSIDE"


def mount(*words):
    subprocess.run(["mount", *map(str, words)], check=True)


class Disk:
    """A tmpfs over the folder of a slot's trials."""

    def __init__(self, slot):
        self.slot, self.run = slot, tiny.Undisturbed(slot)
        slot.fresh()
        slot.keep_as("begins")
        self.mounted = False

    def begin(self, scenario, pages):
        """The disk with what the scenario begins with, and so many pages of room besides."""
        self.close()
        self.slot.folder.mkdir(exist_ok=True)
        mount("-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", self.slot.folder)
        self.mounted = True
        subprocess.run(["cp", "-a", f"{self.slot.path / scenario}/.", f"{self.slot.folder}/"], check=True)
        used = os.statvfs(self.slot.folder)
        self.resize((used.f_blocks - used.f_bfree + pages) * PAGE)
        return self.slot.folder

    def close(self):
        if self.mounted:
            subprocess.run(["umount", self.slot.folder], check=True)
        self.mounted = False

    def resize(self, size):
        mount("-o", f"remount,size={size}", self.slot.folder)


def trial(s, disk, item):
    scenario, pages = item
    folder = disk.begin(scenario, pages)
    what = f"{scenario} with {pages * 4} KiB of room"
    assert pages > 0 or os.statvfs(folder).f_bfree == 0
    result = tiny.fit(folder)
    log = folder / "run" / "log.txt"
    said = result.stderr + (log.read_text() if log.exists() else "")
    s.count("tried")
    s.count("happened" if FULL in said else "had_room")
    s.count(f"code_{result.returncode}")
    if result.returncode not in CODES:
        s.lost(f"{what}: ended with {result.returncode}: {result.stderr}")
    if disk.run.damaged():
        s.lost(f"{what}: {disk.run.damaged()} are not what an undisturbed run writes")
    disk.resize(ROOM)
    if result.returncode != dltrain.DONE:
        s.count("resumed")
        result = tiny.fit(folder)
    found = tiny.outcome(folder)
    differ = tiny.differences(found, disk.run.expected)
    if differ and tiny.follow_from_a_refused_save(found, differ) and "not saved" in said:
        s.count("without_a_file")
    elif result.returncode != dltrain.DONE or differ:
        s.lost(f"{what}: in the end {result.returncode}, {differ} differ: {said} {result.stderr}")


def need(scenario):
    """Pages that are more than enough: what it leaves behind, and two of its largest files more."""
    def measure(slot, disk, _item):
        folder = disk.begin(scenario, 0)
        disk.resize(ROOM)
        before = os.statvfs(folder).f_bfree
        assert tiny.fit(folder).returncode == dltrain.DONE
        largest = max(path.stat().st_size for path in folder.rglob("*"))
        s.count("need", before - os.statvfs(folder).f_bfree + 2 * (largest // PAGE + 1))

    tiny.in_slots(s, Disk, measure, [0])
    pages = s.counts.pop("need")
    print(f"sweep_disk: {scenario}: up to {pages * 4} KiB")
    return pages


if INSIDE not in os.environ:
    if subprocess.run(["unshare", "-Urm", "true"], stderr=subprocess.DEVNULL, check=False).returncode != 0:
        print("sweep_disk: skipped: user namespaces with mounts are not permitted here")
        sys.exit(sweep.SKIPPED)
    os.environ[INSIDE] = "1"
    os.execvp("unshare", ["unshare", "-Urm", sys.executable, *sys.argv])
s = sweep.Sweep("disk", __doc__.splitlines()[0])
items = [(scenario, pages) for scenario in ("begins", "stopped") for pages in range(need(scenario) + 1)]
tiny.in_slots(s, Disk, lambda slot, disk, item: trial(s, disk, item), s.choose(items, 60))
s.finish("happened")
