"""SIGKILL: at the entry and the exit of every system call of every save of a run; at every call of the file system of a whole run;
and at random moments of a run (20; --full 100; --count N), which is resumed and killed again now and then.

A kill counts where it happened: the process ended by SIGKILL, and tests/tools/kill_at.c, which counts the calls of the thread that
saves and of no other, or the program with faults in it, told of the call. What lies there must be what had been done by then.
What a kill leaves must have no checkpoint that an undisturbed run does not write, byte for byte; and the run that is resumed
must end with the weights, the logs and the callbacks' files of the undisturbed one."""
import os
import signal
import subprocess
import time

import sweep
import tiny

dltrain = tiny.dltrain
KILL_AT = os.environ.get("DLTRAIN_KILL_AT", str(dltrain.BUILD / "tests" / "kill_at"))
PLACES = ("run/checkpoints", ".")  # of checkpoints: the run's, a callback's
ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith("DLTRAIN_FAULT")}


def start(folder, words, stdout=subprocess.DEVNULL, **environ):
    return subprocess.Popen(words, cwd=folder, stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.DEVNULL, text=True,
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

def kill_at(folder, *words):
    """What kill_at says of a run in this folder: (return code, "hangs" for one, lines)."""
    process = start(folder, [KILL_AT, *words, *dltrain.command(*tiny.words())], stdout=subprocess.PIPE,
                    ASAN_OPTIONS="detect_leaks=0")  # its leak checker traces the process itself
    try:
        said, _ = process.communicate(timeout=60)
        code = process.returncode
    except subprocess.TimeoutExpired:
        said, code = "", "hangs"
    end(process)
    process.stdout.close()
    return code, said.splitlines()


def system_calls(s):
    """[(file, number, entry or exit, file of the save before or None)] of every save."""
    def trace(slot, _prepared, _item):
        code, lines = kill_at(slot.fresh(), "list")
        if code == 0:
            s.counts.update({f"call {line}": 1 for line in lines})
        else:
            print(f"sweep_kill: {KILL_AT} cannot trace here ({code}): system calls are left out")

    tiny.in_slots(s, lambda slot: None, trace, [None])
    calls = [key.split()[1:3] for key in s.counts if key.startswith("call ")]
    s.counts = {key: value for key, value in s.counts.items() if not key.startswith("call ")}
    files = list(dict.fromkeys(file for file, _ in calls))  # the first is the trial, which leaves none
    if calls and (len(files) < 8 or files[0] != "trial"):
        s.lost(f"not all saves of the run are seen: {files}")
    before = {file: files[i - 1] if i > 1 else None for i, file in enumerate(files)}
    s.count("saves", max(0, len(files) - 1))
    s.count("system_calls", len(calls))
    print(f"sweep_kill: {len(calls)} system calls of {len(files) - 1} saves and the trial before them")
    return [(file, int(number), when, before[file]) for file, number in calls for when in ("entry", "exit")]


def kill_at_system_call(s, run, item):
    file, number, when, before = item
    folder = run.begin("begins")
    s.count("tried")
    code, lines = kill_at(folder, file, str(number), when)
    what = f"killed at {when} of system call {number} of save {file}"
    if code == "hangs":
        s.lost(f"{what}: hangs")
    if code != 0:
        s.count("not_reached")
        return
    what = f"{what}, {lines[0].split()[2]}"
    if before is not None and not any((folder / place / f"{before}.weights.h5").exists() for place in PLACES):
        s.lost(f"{what}: {before}, the save before, is not there")
    made = any(list((folder / place).glob(f".{file}.weights.h5.tmp-*")) for place in PLACES)
    if number == 1 and made != (when == "exit"):
        s.lost(f"{what}: this call makes the temporary file, which is {'' if made else 'not '}there")
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
    items += [("system", call) for call in s.choose(system_calls(s), 40)]
    items += [("file", number) for number in s.choose(file_calls(s), 40)]
tiny.in_slots(s, tiny.Undisturbed, lambda slot, run, item: TRIALS[item[0]](s, run, item[1]), items)
s.finish("happened")
