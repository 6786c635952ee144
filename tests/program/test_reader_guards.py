"""The process that reads foreign HDF5 files, as strace sees it: what it is left with before it looks at the first byte of the file,
and what it does from then on. And that `doctor` says so where seccomp is missing."""

import os
import re
import shutil
import subprocess
import unittest

from dltrain import DONE, SOURCE, TestCase, command, main, run

GOOD = SOURCE / "tests" / "data" / "h5" / "keras.weights.h5"
CAN_TRACE = shutil.which("strace") is not None and subprocess.run(
    ["strace", "-qq", "-o", os.devnull, "true"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0
ALLOWED = {"pread64", "write", "brk", "mmap", "munmap", "mremap", "mprotect", "madvise", "futex", "exit_group", "exit", "getrandom",
           "clock_gettime", "gettimeofday", "sched_yield", "rt_sigreturn", "restart_syscall", "nanosleep", "clock_nanosleep"}


@unittest.skipUnless(CAN_TRACE, "strace is missing or may not trace")
class ReaderGuards(TestCase):
    def trace(self, *words, options=(), **environ):
        """What the program did: [(process, call), ...], and its result."""
        out = self.folder / "trace"
        result = subprocess.run(["strace", "-f", "-v", "-qq", "-s", "8192", "-o", str(out), *options, *command(*words)],
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False,
                                timeout=300, env={**os.environ, **environ})
        return [tuple(line.split(None, 1)) for line in out.read_text().splitlines() if " " in line], result

    def reader(self, calls):
        """The calls of the process that was started to read."""
        starts = [i for i, (_, call) in enumerate(calls) if call.startswith("execve(") and '"--h5-child"' in call]
        self.assertTrue(starts, "no reader was started")
        process = calls[starts[0]][0]
        return [call for who, call in calls[starts[0]:] if who == process]

    def test_it_gives_up_what_it_does_not_need(self):
        model = self.folder / "m.yaml"
        model.write_text(f"data: {{train: {{HDF5: {{path: {GOOD}, features: x}}}}}}\nlayers: [Dense: {{units: 2}}]\n"
                         "loss: mse\noptimizer: SGD\n")
        calls, _ = self.trace("check", model, HDF5_PLUGIN_PATH="/tmp", USER_SECRET="s3cret")
        calls = self.reader(calls)
        if not any(re.match(r"prlimit64\(.*RLIMIT_AS, \{", call) for call in calls):
            self.skipTest("built with sanitizers, which need more")
        start, text = calls[0], "\n".join(calls)
        self.assertNotIn("HDF5_", start)
        self.assertNotIn("s3cret", start)
        self.assertNotIn("HOME=", start)
        self.assertIn('"OPENBLAS_NUM_THREADS=1"', start)
        for expected in (r"prctl\(PR_SET_PDEATHSIG, SIGKILL\) += 0", r"close_range\(5, 4294967295, 0\) += 0|close\(15\)",
                         r"RLIMIT_AS, \{rlim_cur=\d+(\*1024)?, rlim_max=\d+(\*1024)?\}", r"RLIMIT_CPU, \{rlim_cur=3, rlim_max=4\}",
                         r"RLIMIT_NOFILE, \{rlim_cur=5, rlim_max=5\}", r"RLIMIT_FSIZE, \{rlim_cur=0, rlim_max=0\}",
                         r"RLIMIT_CORE, \{rlim_cur=0, rlim_max=0\}", r"prctl\(PR_SET_DUMPABLE, SUID_DUMP_DISABLE\) += 0",
                         r"prctl\(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0\) += 0", r"prctl\(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, .*\) += 0"):
            self.assertRegex(text, expected)
        held = next(i for i, call in enumerate(calls) if call.startswith("prctl(PR_SET_SECCOMP"))
        first = next(i for i, call in enumerate(calls) if call.startswith("pread64(3,"))
        self.assertLess(held, first, "it reads before it is held")
        for call in calls[held + 1:]:
            name = call.split("(")[0]
            if name.startswith(("+++", "---", "<...")):  # its end, a signal, the second half of a call
                continue
            self.assertIn(name, ALLOWED, call)
            if name in ("pread64", "write"):
                self.assertRegex(call, r"^pread64\(3,|^write\(4,")

    def test_doctor_tells_that_seccomp_is_missing(self):
        good = self.expect(run("doctor", "--folder", self.folder), DONE).stdout
        if "can do nothing else" not in good:
            self.skipTest("this kernel has no seccomp: " + good)
        if "memory is not limited" in good:
            self.skipTest("built with sanitizers, which make calls of their own")
        _, result = self.trace("doctor", "--folder", self.folder, options=("-e", "inject=prctl:error=EINVAL:when=5"))
        self.assertRegex(result.stdout, r"(?m)^hdf5 +warning .*no seccomp.*trust")
        self.assertEqual(result.returncode, DONE)


main()
