"""SIGKILL: at every system call of a save, by strace's injection; at every call of the file system of a whole run; and at
random moments of a run (20; --full 100; --count N), which is resumed and killed again now and then.

A kill counts where it happened: the process ended by SIGKILL, and strace, or the program with faults in it, told of the call.
What a kill leaves must have no checkpoint that an undisturbed run does not write, byte for byte; and the run that is resumed
must end with the weights, the logs and the callbacks' files of the undisturbed one."""
import os
import re
import shutil
import signal
import subprocess
import time

import sweep
import tiny

dltrain = tiny.dltrain
CALL = re.compile(r"(\d+) +(\w+)\((.*)")
FOLLOWED = 3  # the save whose every system call is tried: of this step, and what it removes
ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith("DLTRAIN_FAULT")}


def start(folder, words, **environ):
    return subprocess.Popen(words, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                            start_new_session=True, env={**ENVIRONMENT, **environ})


def end(process):
    """Kills what is left of its group, readers of HDF5 files for one, and waits for it; its return code."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    return process.wait()


def check(s, run, what):
    """After a kill."""
    s.count("happened")
    if run.damaged():
        s.lost(f"{what}: {run.damaged()} are not what an undisturbed run writes")


def finish(s, run, what):
    result = tiny.fit(run.slot.folder)
    if result.returncode != dltrain.DONE or run.differ():
        s.lost(f"{what}: resumed, it ends with {result.returncode}, {run.differ()} differ: {result.stderr}")


# ---- system calls ----

def system_calls(s):
    """[(name, n)]: the n-th such call of the thread that saves; those of the save that is followed, and all others."""
    if shutil.which("strace") is None:
        print("sweep_kill: no strace: system calls are left out")
        return [], []
    found = {}

    def trace(slot, _prepared, _item):
        log = slot.path / "trace"
        result = subprocess.run(["strace", "-f", "-o", log, *dltrain.command(*tiny.words())], cwd=slot.fresh(),
                                stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            print(f"sweep_kill: strace does not work here: {result.stderr.strip()[:200]}")
            return
        calls = [m.groups() for m in map(CALL.match, log.read_text(errors="replace").splitlines()) if m]
        saver = next(thread for thread, name, _ in calls if name == "pwrite64")
        seen, at = {}, 0
        for thread, name, words in calls:
            if thread == saver:
                opened = re.search(r"/\.step-0*(\d+)\.weights", words) if name == "openat" and "O_CREAT" in words else None
                at = int(opened[1]) if opened else at
                seen[name] = seen.get(name, 0) + 1
                s.counts[f"call {int(at == FOLLOWED)} {name} {seen[name]}"] = 1

    tiny.in_slots(s, lambda slot: None, trace, [None])
    for key in [key for key in s.counts if key.startswith("call ")]:
        _, followed, name, number = key.split()
        found.setdefault(int(followed), []).append((name, int(number)))
        del s.counts[key]
    return found.get(1, []), found.get(0, [])


def kill_at_system_call(s, run, item):
    name, number = item
    log = run.slot.path / "trace"
    folder = run.begin("begins")
    s.count("tried")
    process = start(folder, ["strace", "-f", "-o", log, "-e", f"trace={name}", "-e",
                             f"inject={name}:signal=SIGKILL:when={number}", *dltrain.command(*tiny.words())])
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        s.lost(f"{name} {number}: hangs under strace")
    end(process)
    what = f"killed at {name} number {number}"
    if "killed by SIGKILL" not in log.read_text(errors="replace"):
        s.count("not_reached")
        return
    s.count("by_system_call")
    check(s, run, what)
    finish(s, run, what)


# ---- calls of the file system ----

def file_calls(s):
    def count(slot, _prepared, _item):
        proof = slot.path / "proof"
        tiny.fit(slot.fresh(), program=sweep.FAULTS, DLTRAIN_FAULT_FILE="KILL:0", DLTRAIN_FAULT_PROOF=str(proof))
        s.count("file_calls", len(proof.read_text().splitlines()))

    tiny.in_slots(s, lambda slot: None, count, [None])
    return range(1, s.counts.pop("file_calls") + 1)


def kill_at_file_call(s, run, number):
    proof = run.slot.path / "proof"
    proof.unlink(missing_ok=True)
    folder = run.begin("begins")
    s.count("tried")
    process = start(folder, dltrain.command(*tiny.words(), program=sweep.FAULTS), DLTRAIN_FAULT_FILE=f"KILL:{number}",
                    DLTRAIN_FAULT_PROOF=str(proof))
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        s.lost(f"file call {number}: hangs")
    code = end(process)
    told = proof.read_text().strip()
    if code != -signal.SIGKILL or not told:
        s.count("not_reached")
        return
    s.count("by_file_call")
    check(s, run, f"killed at file call {told}")
    finish(s, run, f"killed at file call {told}")


# ---- random moments ----

def kill_after(folder, run, random):
    """Starts a run and kills it at a moment drawn from its duration, which is that of the last one that came to its end;
    (milliseconds, or None where it ended before, return code)."""
    moment = random.random() * run.duration
    began = time.monotonic()
    process = start(folder, dltrain.command(*tiny.words()))
    try:
        process.wait(moment)
        run.duration = time.monotonic() - began
    except subprocess.TimeoutExpired:
        pass
    code = end(process)
    return (moment * 1000 if code == -signal.SIGKILL else None), code


def kill_at_moments(s, run, number):
    random = sweep.random.Random(f"{s.seed}/{number}")
    if not hasattr(run, "duration"):
        run.duration = 0.2
    killed = []
    for _ in range(100):
        folder = run.slot.folder if killed else run.begin("begins")
        moment, code = kill_after(folder, run, random)
        s.count("tried")
        if moment is None:
            s.count("too_late")
            if code != dltrain.DONE:
                s.lost(f"number {number} of seed {s.seed}: ended with {code} by itself after {killed}")
            if killed:
                break  # resumed and done
            continue
        killed.append(moment)
        what = f"killed after {', '.join(f'{m:.1f}' for m in killed)} ms (number {number} of seed {s.seed})"
        s.count("at_random_moments" if len(killed) == 1 else "again_while_it_resumed")
        check(s, run, what)
        if random.random() < 0.6 or len(killed) == 5:
            break
    finish(s, run, f"killed after {killed} ms (number {number} of seed {s.seed})")


TRIALS = {"system": kill_at_system_call, "file": kill_at_file_call, "moment": kill_at_moments}
s = sweep.Sweep("kill", __doc__.splitlines()[0])
items = [("moment", number) for number in range(s.drawn(20, 100))]
if s.arguments.count is None:  # a count is one of moments
    one_save, others = system_calls(s)
    print(f"sweep_kill: {len(one_save)} system calls of a save, {len(others)} of the others")
    items += [("system", call) for call in s.choose(one_save, 25)]
    items += [("system", call) for call in sorted(s.random.sample(others, min(len(others), 300 if s.full else 10)))]
    items += [("file", number) for number in s.choose(file_calls(s), 40)]
tiny.in_slots(s, tiny.Undisturbed, lambda slot, run, item: TRIALS[item[0]](s, run, item[1]), items)
s.finish("happened")
