"""Every call of the file system that a run makes fails once, or from then on: ENOSPC, EDQUOT, EIO, EINTR, or a transfer is cut
in half. Two runs: one from its beginning, and one that is resumed in the midst of its second epoch.

Required of each: an exit code that is documented; no crash, no hang; every file under a checkpoint's name is one that an
undisturbed run writes, byte for byte; where only transfers were cut, nothing else is different either. Then the run is
resumed without faults and must end with the weights, the logs and the callbacks' files of the undisturbed one. (A file that
ModelCheckpoint could not write is allowed to be missing, if that was said: the run goes on without it.)
EINTR for ever is left out: those loops rightly never end. All transfers cut from one call on are tried at one call in 50."""
import sweep
import tiny

dltrain = tiny.dltrain
CODES = (dltrain.DONE, dltrain.CONFIG, dltrain.NO_DATA, dltrain.CHECKPOINT, dltrain.OUTPUT)
ORDERS = ["ENOSPC", "EDQUOT", "EIO", "EINTR", "SHORT"]
SAMPLE = 160


def calls(path):
    return [line.split(" ", 2) for line in path.read_text().splitlines()]


def places(s):
    """How many calls can fail in each way: (scenario, order, number, onwards) of all."""
    found = []

    def count(slot, run, _item):
        for scenario in ("begins", "resumes"):
            for order in ORDERS:
                proof = slot.path / f"{scenario}-{order}"
                result = tiny.fit(run.begin(scenario), program=sweep.FAULTS, DLTRAIN_FAULT_FILE=f"{order}:0",
                                  DLTRAIN_FAULT_PROOF=str(proof))
                assert result.returncode == dltrain.DONE, result.stderr
                s.count(f"{scenario} {order}", len(calls(proof)))

    tiny.in_slots(s, tiny.Undisturbed, count, [None])
    for scenario in ("begins", "resumes"):
        for order in ORDERS:
            number = s.counts.pop(f"{scenario} {order}", 0)
            print(f"sweep_io: a run that {scenario} has {number} calls that {order} can hit")
            # a disk that stays full looks the same by either name; a resumed run differs in what it reads and cuts back
            ways = {"ENOSPC": [False, True], "EIO": [False, True]}.get(order, [False])
            if scenario == "resumes":
                ways = [False] if order in ("EIO", "SHORT") else []
            found += [(scenario, order, n, onwards) for onwards in ways for n in range(1, number + 1)]
            found += [(scenario, order, n, True) for n in range(1, number + 1, 50)] if order == "SHORT" else []
    return found


def trial(s, slot, run, item):
    scenario, order, number, onwards = item
    folder = run.begin(scenario)
    proof = slot.path / "proof"
    proof.unlink(missing_ok=True)
    result = tiny.fit(folder, program=sweep.FAULTS, DLTRAIN_FAULT_FILE=f"{order}:{number}{'+' if onwards else ''}",
                      DLTRAIN_FAULT_PROOF=str(proof))
    s.count("tried")
    hit = calls(proof)
    if not hit:
        s.count("not_reached")  # the order of threads made it one call shorter
        return
    s.count("happened")
    what = f"{scenario}, {order}{' for ever' if onwards else ''} at call {number} ({' '.join(hit[0][1:])})"
    if result.returncode not in CODES:
        s.lost(f"{what}: ended with {result.returncode}: {result.stderr}")
    s.count(f"code_{result.returncode}")
    if run.damaged():
        s.lost(f"{what}: {run.damaged()} are not what an undisturbed run writes")
    if order == "SHORT" and result.returncode != dltrain.DONE:
        s.lost(f"{what}: a short transfer is no error: {result.returncode} {result.stderr}")
    told = result.stderr
    if result.returncode != dltrain.DONE:
        s.count("resumed")
        result = tiny.fit(folder)
    found = tiny.outcome(folder)
    differ = tiny.differences(found, run.expected)
    if differ and tiny.follow_from_a_refused_save(found, differ) and "not saved" in told:
        s.count("without_a_file")  # the run went on without it, and said so
    elif result.returncode != dltrain.DONE or differ:
        s.lost(f"{what}: in the end {result.returncode}, {differ} differ: {told} {result.stderr}")


s = sweep.Sweep("io", __doc__.splitlines()[0])
chosen = s.choose(places(s), s.arguments.count or SAMPLE)
tiny.in_slots(s, tiny.Undisturbed, lambda slot, run, item: trial(s, slot, run, item), chosen)
s.finish("happened")
