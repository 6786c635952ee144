#!/usr/bin/env python3
"""The suite: one training step of each model in dltrain and its peers, side by side on this machine.

    python3 bench/suite/suite.py install [--env DIR]              a private environment with the peers (some 8 GB)
    python3 bench/suite/suite.py run [--models mlp,lstm] [--peers torch,jax] [--precision bf16] [--out FILE.json]

Architecture, first weights (by file), batches and their order, constants of the optimizer and number of threads are the same for all. Each peer
is tried with each of its settings, and its best one counts. Then dltrain and the peers take turns: a row is the median over the rounds of the time
of a step, data, loss and update included. A row is valid if, with dropout at 0, the first 10 losses agree to 1e-4 and the next 40 to 1e-2 (bf16: 2e-2),
relative where they are above 1. The threads are bound to the first processors; what the shell sets for OpenBLAS, OpenMP and MKL is taken away.
"""

import argparse
import json
import math
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
SOURCE = HERE.parents[1]
TUNED = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 34), "MALLOC_TOP_PAD_": str(64 << 20)}


def candidates(peer, name, images):
    """Settings to try: ({setting: value}, {environment})."""
    last = [{"channels_last": True}] if images else []
    if peer == "torch":
        return [({}, {}), *[({"fused": True, **extra}, TUNED) for extra in [{}, *last]]]
    if peer == "compile":
        return [({"compile": mode, "fused": True, **extra}, TUNED) for mode in ("default", "max-autotune") for extra in [{}, *last]]
    if peer == "jax":
        return [({"unroll": n}, TUNED) for n in ((1, 10) if name in ("lstm", "gru") else (1,))]
    backend = {"keras-tf": "tensorflow", "keras-jax": "jax", "keras-torch": "torch"}[peer]
    groups = (1, 10) if backend != "torch" else (1,)
    jits = ("auto", True) if backend == "tensorflow" else ("auto",)
    return [({"backend": backend, "steps_per_execution": n, "jit": jit}, TUNED) for jit in jits for n in groups]


PEERS = {"torch": "peer_torch.py", "compile": "peer_torch.py", "jax": "peer_jax.py", "keras-tf": "peer_keras.py",
         "keras-jax": "peer_keras.py", "keras-torch": "peer_keras.py"}


class Worker:
    """A peer in a process of its own, which waits where it is not asked."""

    def __init__(self, args, peer, name, settings, environ):
        self.settings, self.peer = settings, peer
        told = {**settings, "threads": args.threads, "precision": args.precision, "program": str(args.program)}
        self.log = open(args.work / f"{peer}.log", "w", encoding="utf-8")
        began = time.time()
        self.process = subprocess.Popen([args.env / "bin" / "python", HERE / PEERS[peer], name, args.work, json.dumps(told)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True,
                                        env={**args.environ, **environ})
        self.start_up = self.read()["started"] - began

    def read(self):
        for line in self.process.stdout:
            if line.startswith("PEER "):
                return json.loads(line[5:])
        raise RuntimeError(f"{self.peer} with {self.settings} ended: {self.log.name}")

    def ask(self, **command):
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        return self.read()

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.log.close()


def dltrain(args, name, steps, dropout, common):
    """What `time` says."""
    command = [args.program, "time", "--whole", "--format", "json", "--steps", str(steps), "--threads", str(args.threads), "--weights",
               args.work / f"{name}.weights.h5", common.config(name), *common.words(name, dropout, args.precision == "bf16")]
    done = subprocess.run(command, capture_output=True, text=True, env=args.environ, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{name}: {done.stderr}")
    return json.loads(done.stdout)


def memory_of(args, name, common):
    """Peak resident bytes of a short run, by the kernel's account of that process."""
    command = [sys.executable, "-c", "import resource,subprocess,sys; subprocess.run(sys.argv[1:],check=True,stdout=subprocess.DEVNULL);"
               "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss*1024)", args.program, "time", "--whole", "--steps", "3",
               "--threads", str(args.threads), "--format", "json", common.config(name), *common.words(name, True, args.precision == "bf16")]
    return int(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=args.environ).stdout)


def first_step_of(args, name, common):
    """Seconds from exec to the end of the first step."""
    run = args.work / "run-first"
    shutil.rmtree(run, ignore_errors=True)
    subprocess.run([args.program, "fit", common.config(name), "--run", run, "-v", "0", "--threads", str(args.threads), "-o",
                    "fit.steps_per_epoch=1", *common.words(name, True, args.precision == "bf16")], env=args.environ, check=True,
                   stdout=subprocess.DEVNULL)
    found = json.loads((run / "timing.jsonl").read_text(encoding="utf-8").splitlines()[0])["first_step"]
    shutil.rmtree(run)
    return found


def make_weights(args, name, common):
    weights = args.work / f"{name}.weights.h5"
    if weights.exists():
        return
    run = args.work / "run-weights"
    shutil.rmtree(run, ignore_errors=True)
    optimizer = "SGD" if "optimizer: {SGD" in common.config(name).read_text(encoding="utf-8") else "Adam"
    subprocess.run([args.program, "fit", common.config(name), "--run", run, "-v", "0", "-o", "fit.steps_per_epoch=1", "-o",
                    f"optimizer.{optimizer}.learning_rate=0"], check=True, env=args.environ, stdout=subprocess.DEVNULL)
    common.first_weights(run / "checkpoints" / "final.weights.h5", weights)
    shutil.rmtree(run)


def difference(a, b, bf16):
    """Largest difference of the first 10 losses and of the others, and whether both are small enough."""
    def most(first, end):
        return max((abs(x - y) / max(1, abs(y)) if math.isfinite(x) and math.isfinite(y) else math.inf
                    for x, y in zip(a[first:end], b[first:end])), default=0)
    early, late = most(0, 10), most(10, 50)
    return {"first_10": early, "next_40": late, "good": early <= (2e-2 if bf16 else 1e-4) and late <= (2e-2 if bf16 else 1e-2)}


def best_worker(args, peer, name, images):
    """The worker with the settings that are fastest, and what all settings took."""
    best, tried = None, []
    for settings, environ in candidates(peer, name, images):
        try:
            worker = Worker(args, peer, name, settings, environ)
            seconds = worker.ask(do="time", steps=2, warm=1)["seconds"]
            steps = max(2, min(50, int(1 / seconds)))
            worker.seconds = min(worker.ask(do="time", steps=steps, warm=1)["seconds"] for _ in range(2 if seconds < 0.5 else 1))
        except (RuntimeError, BrokenPipeError) as e:
            tried.append({"settings": settings, "failed": str(e)})
            print(f"  {e}", file=sys.stderr)
            continue
        tried.append({"settings": settings, "malloc": bool(environ), "seconds": worker.seconds, "start_up": worker.start_up})
        if best is None or worker.seconds < best.seconds:
            best, worker = worker, best
        if worker is not None:
            worker.close()
    return best, tried


def row(args, name, common):
    common.make_data(name, args.work)
    make_weights(args, name, common)
    bf16 = args.precision == "bf16"
    images = len(common.MODELS[name]["shape"]) == 3
    workers, found = {}, {"model": name, "peers": {}}
    try:
        for peer in args.peers:
            worker, tried = best_worker(args, peer, name, images)
            found["peers"][peer] = {"tried": tried}
            if worker is not None:
                workers[peer] = worker
        steps = 47 if name not in ("resnet18", "gpt2", "char-gpt") or not args.quick else 17
        ours = dltrain(args, name, steps, False, common)
        for peer, worker in workers.items():
            losses = worker.ask(do="losses", steps=steps + 3)["losses"]
            found["peers"][peer].update(settings=worker.settings, start_up=worker.start_up, losses=losses, agrees=difference(ours["losses"], losses, bf16))
        slow = ours["step"] > 0.5
        rounds = args.rounds or (3 if slow else 7)
        times = {peer: [] for peer in ["dltrain", *workers]}
        medians, shares = [], []
        for _ in range(rounds):
            def count(seconds):
                return 5 if slow else max(5, min(50, int(3 / seconds)))
            one = dltrain(args, name, count(ours["step"]), True, common)
            times["dltrain"].append(one["mean"])
            medians.append(one["step"])
            shares.append(one["flops"] / one["step"] / one["peak"])
            for peer, worker in workers.items():
                times[peer].append(worker.ask(do="time", steps=count(worker.seconds))["seconds"])
        found.update(times=times["dltrain"], medians=medians, share=statistics.median(shares), flops=one["flops"], peak=one["peak"],
                     waiting=one["waiting"], losses=ours["losses"], memory=memory_of(args, name, common), first_step=first_step_of(args, name, common))
        for peer, worker in workers.items():
            found["peers"][peer].update(times=times[peer], memory=worker.ask(do="memory")["bytes"])
        pairs = [(a, b) for a in workers for b in workers if a < b]
        found["peers_disagree"] = [max((difference(found["peers"][a]["losses"], found["peers"][b]["losses"], bf16)[k] for a, b in pairs), default=0)
                                   for k in ("first_10", "next_40")]
    finally:
        for worker in workers.values():
            worker.close()
    return found


def ms(seconds):
    return f"{1000 * seconds:.3g}" if seconds < 1 else f"{1000 * seconds:.0f}"


def table(rows, peers):
    lines = ["| model | dltrain, ms | spread | of peak | " + " | ".join(peers) + " | best peer / dltrain | losses: first 10, next 40 | memory | first step |",
             "|---" * (8 + len(peers)) + "|"]
    ratios = {p: [] for p in [*peers, "best"]}
    for r in rows:
        ours = statistics.median(r["times"])
        cells, best, worst = [], None, [0, 0]
        for p in peers:
            one = r["peers"].get(p, {})
            if "times" not in one:
                cells.append("failed" if one.get("tried") else "")
                continue
            theirs = statistics.median(one["times"])
            ratios[p].append(theirs / ours)
            best = theirs if best is None else min(best, theirs)
            cells.append(f"{ms(theirs)} ({theirs / ours:.2f}){'' if one['agrees']['good'] else ' !'}")
            worst = [max(w, one["agrees"][k]) for w, k in zip(worst, ("first_10", "next_40"))]
        if best is not None:
            ratios["best"].append(best / ours)
        spread = (max(r["times"]) - min(r["times"])) / ours
        first = r["first_step"]
        lines.append(f"| {r['model']} | {ms(ours)} | {100 * spread:.0f} % | {100 * r['share']:.0f} % | " + " | ".join(cells) +
                     f" | {'' if best is None else f'**{best / ours:.2f}**'} | {worst[0]:.1e}, {worst[1]:.1e} (peers {r['peers_disagree'][0]:.1e}, {r['peers_disagree'][1]:.1e}) | "
                     f"{r['memory'] / 2**20:.0f} MiB | {'' if first is None else ms(first) + ' ms'} |")

    def mean(values):
        return math.exp(statistics.fmean(map(math.log, values))) if values else math.nan
    lines.append("| geomean | | | | " + " | ".join(f"{mean(ratios[p]):.2f}" for p in peers) + f" | **{mean(ratios['best']):.2f}** | | | |")
    lines.append("| worst | | | | " + " | ".join(f"{min(ratios[p], default=math.nan):.2f}" for p in peers) + f" | **{min(ratios['best'], default=math.nan):.2f}** | | | |")
    lines.append("")
    lines.append("In brackets: the peer's time over dltrain's. A row with ! has losses that are further apart than the rule allows.")
    return "\n".join(lines)


def install(args):
    subprocess.run([sys.executable, "-m", "venv", args.env], check=True)
    subprocess.run([args.env / "bin" / "pip", "install", "-r", HERE / "requirements.txt"], check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("install", "run", "table"))
    parser.add_argument("--env", type=pathlib.Path, default=SOURCE / "build" / "peers", help="the peers' environment")
    parser.add_argument("--program", type=pathlib.Path, default=SOURCE / "build" / "release" / "dltrain")
    parser.add_argument("--work", type=pathlib.Path, default=SOURCE / "build" / "suite", help="data, weights, logs")
    parser.add_argument("--models", default="", help="names, with commas; default: all")
    parser.add_argument("--peers", default=",".join(PEERS), help="of " + ", ".join(PEERS))
    parser.add_argument("--precision", choices=("float32", "bf16"), default="float32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=0, help="default: 7, or 3 where a step takes more than 500 ms")
    parser.add_argument("--quick", action="store_true", help="compare 20 losses only of the large models")
    parser.add_argument("--out", type=pathlib.Path, help="results as JSON; `table` prints them again")
    args = parser.parse_args()
    if args.action == "install":
        install(args)
        return
    args.peers = [p for p in args.peers.split(",") if p]
    if args.action == "table":
        print(table(json.loads(args.out.read_text(encoding="utf-8"))["rows"], args.peers))
        return
    if pathlib.Path(sys.prefix).resolve() != args.env.resolve():
        os.execv(args.env / "bin" / "python", [str(args.env / "bin" / "python"), __file__, *sys.argv[1:]])
    import common
    args.work.mkdir(parents=True, exist_ok=True)
    args.work, args.program = args.work.resolve(), args.program.resolve()
    args.environ = {k: v for k, v in os.environ.items() if not k.startswith(("OPENBLAS_", "OMP_", "MKL_", "GOMP_", "KMP_"))}
    args.environ["SUITE_DATA"] = str(args.work)
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.threads])
    rows = []
    for name in args.models.split(",") if args.models else common.MODELS:
        print(f"== {name}", file=sys.stderr, flush=True)
        rows.append(row(args, name, common))
        if args.out:
            args.out.write_text(json.dumps({"date": time.strftime("%F"), "system": platform.platform(), "threads": args.threads,
                                            "precision": args.precision, "rows": rows}, indent=1), encoding="utf-8")
        print(table(rows[-1:], args.peers), file=sys.stderr, flush=True)
    print(table(rows, args.peers))


if __name__ == "__main__":
    main()
