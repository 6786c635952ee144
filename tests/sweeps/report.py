"""Makes docs/reliability.md of what sweeps and fuzz targets have left:

    python3 tests/sweeps/report.py [build/full/results.jsonl...]

tests/sweeps/results.jsonl keeps the last result of each; those of the files named are taken over into it, if they are whole (a
gate's samples are not). Of a fuzz target the longest run is kept, unless a shorter one found something.
"""
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
KEPT = HERE / "results.jsonl"
PAGE = HERE.parents[1] / "docs" / "reliability.md"

HEAD = """# What was tried, and what came of it

dltrain is to be trusted with a week of GPU time and with files from strangers. What that rests on is not examples but sweeps: a
fault at every place where one can happen, and a look at what is left behind. This page is made by `tests/sweeps/report.py` from
the last results of the commands that it names. A sweep counts the faults that really happened, prints its seed (`--seed N` runs
it again), and fails if there was none. The gate (`.ci/run`) runs a sample of each with a seed of its own, `.ci/full` all of it.

"Lost" is anything that is not as promised: a process that crashed or hung, an exit code that is not the right one, a message that is
missing or not the only one, half an output, a checkpoint that was good before and is not now, a resumed run whose weights or logs
differ in one byte from those of a run that nothing disturbed. Times are those of a busy machine, and no measure.

| what | tried | lost | command (from the folder of the sources) | last result |
|---|---|---|---|---|
"""

# sweep: what it is, what was tried (words with the counts of the result), the command
ROWS = {
    "corpus": ("Wrong models, data files and command lines, each with its exact message",
               "{cases} cases, {mistaken} of them wrong, with {errors} errors: {placed} name their place, {missing_place} lack it, "
               "{without_place} have none (each with its reason in measure.py); {suggested} of {typos} typing mistakes are answered with "
               "the word that was meant",
               "tests/errors/review.sh && python3 tests/errors/measure.py"),
    "typos": ("Every name of a kind or key, mistyped", "{typos} names, {suggested} of them answered with the right one",
              "python3 tests/sweeps/sweep_typos.py --full"),
    "keys": ("Keys that do nothing", "{keys} keys of all field tables: {graph} change the graph, {run} what a run leaves, {beside} do so beside "
             "another key, {refused} are refused, {single} have one legal value, {weightless} are `trainable` of what has no weights, {listed} are "
             "listed with the reason; {dead} do nothing", "python3 tests/program/test_keys.py"),
    "alloc": ("Memory refused, once and from then on, in every command",
              "{places} places with {refused} refusals, {refused_yaml} of them to libyaml; {resumed} fits gone on with. {at_every_place} of "
              "{allocators} pairs of command and allocator at every place; of the others every Nth: {steps}",
              "python3 tests/sweeps/sweep_alloc.py --full"),
    "alloc_whole": ("The same at every place of our allocator, in the commands of which `--full` tries every Nth",
                    "{cases}: {places} places with {refused} refusals, {refused_yaml} of them to libyaml",
                    "python3 tests/sweeps/sweep_alloc.py --full --whole --only fit-packed,verify-resume,reproduce,schema-stdout"),
    "io": ("File calls that fail or are cut short, once and from then on", "{happened} calls; {resumed} fits gone on with",
           "python3 tests/sweeps/sweep_io.py --full"),
    "disk": ("Disks of every size in steps of 4 KiB", "{tried} sizes, {happened} of them too small; {resumed} fits gone on with",
             "python3 tests/sweeps/sweep_disk.py --full"),
    "kill": ("SIGKILL", "{happened} kills: {by_system_call} at entry or exit of a system call of the thread that saves, of {system_calls} in "
             "{saves} saves; {by_file_call} at file calls, {at_random_moments} at random moments, {again_while_it_resumed} more while a "
             "run was resumed", "python3 tests/sweeps/sweep_kill.py --full"),
    "kill1000": ("SIGKILL at random moments", "{happened} kills: {at_random_moments} at random moments, {again_while_it_resumed} more while a "
                 "run was resumed", "python3 tests/sweeps/sweep_kill.py --count 1000"),
    "powercut": ("Power cuts, replayed from the recorded calls", "{states} states of the disk, {distinct} of them distinct, each gone on from",
                 "python3 tests/sweeps/sweep_powercut.py --full"),
    "resume": ("Runs stopped and resumed, compared bit for bit", "{models} models, {chains} chains of {stops} stops",
               "python3 tests/sweeps/sweep_resume.py --full"),
    "flips": ("Flipped bits of a checkpoint", "{flips} bits: {refused} refused, {died} killed the reading process (which is a refusal), "
              "{same} without effect, {wrong} missed; {resumed} runs went on from the next older one",
              "python3 tests/sweeps/sweep_flips.py --full"),
    "hostile": ("Mutated HDF5 files, as data, weights and checkpoints", "{files} files, {repaired} with digests repaired: {refused} openings "
                "refused, {accepted} accepted, {reader_died} deaths of the reading process, of its parent: {parent_died}; "
                "{started} starts of the program itself",
                "python3 tests/sweeps/sweep_hostile.py --full"),
    "nan": ("Numbers that are not finite, by layer, step and policy", "{injected} made, {named} named by layer, line and records, {compared} "
            "compared with a run without the batch", "python3 tests/sweeps/sweep_nan.py --full"),
}


class Counts(dict):
    def __missing__(self, key):
        return "not counted"  # which is not 0


def thousands(value):
    return f"{value:,}" if isinstance(value, int) else value


def row(result):
    counts = Counts({k: thousands(v) for k, v in result.items()})
    name = result["sweep"]
    took = f", {counts['seconds']} s" if "seconds" in result else ""
    where = f"{result['date']}, {result['commit']}{took}" + (f"; {result['note']}" if "note" in result else "")
    if name.startswith("fuzz_"):
        target = name[len("fuzz_"):]
        return (f"| Fuzzing: {target} | {counts['executions']} executions | {result['crashes']} | "
                f"`tests/fuzz.sh --runs {result['executions']} {target}` | {where} |")
    what, tried, command = ROWS[name]
    command = result.get("command", command) + (f" --seed {result['seed']}" if "seed" in result else "")
    return f"| {what} | {tried.format_map(counts)} | {result['lost']} | `{command}` | {where} |"


def load(path):
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()] if path.exists() else []


def main():
    kept = {r["sweep"]: r for r in load(KEPT)}
    for name in sys.argv[1:]:
        for result in load(pathlib.Path(name)):
            before = kept.get(result["sweep"], {})
            fuzz = result["sweep"].startswith("fuzz_")
            if result.get("full") or (fuzz and (result["crashes"] > 0 or result["executions"] >= before.get("executions", 0))):
                kept[result["sweep"]] = result
    order = [*ROWS, *sorted(k for k in kept if k.startswith("fuzz_"))]
    results = [kept[k] for k in order if k in kept]
    KEPT.write_text("".join(json.dumps(r) + "\n" for r in results))
    PAGE.write_text(HEAD + "".join(row(r) + "\n" for r in results))


if __name__ == "__main__":
    main()
