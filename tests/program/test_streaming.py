"""Training on files larger than the memory it may hold, killed and taken up again: bench/streaming.py on small files."""

import pathlib
import subprocess
import sys
import unittest

import dltrain

sys.path.insert(0, str(dltrain.SOURCE / "bench"))
import streaming  # noqa: E402

SIZE = 40_000_000
HELD = 2 << 20  # bytes of records in memory: a twentieth of the file
ROOM = 24_000_000  # bytes that 40 MB of data may cost beyond what the same training on little data takes


def sanitized():
    """Sanitizers keep a shadow of all memory: what is resident then says nothing."""
    cache = dltrain.BUILD / "CMakeCache.txt"
    return cache.exists() and "DLT_SANITIZE:STRING=OFF" not in cache.read_text()


@unittest.skipUnless(pathlib.Path("/proc/self/status").exists(), "needs /proc")
class Streaming(dltrain.TestCase):
    def check(self, kind):
        few = streaming.show_kind(dltrain.PROGRAM, self.folder, kind, 400_000, epochs=2, steps=20, held=HELD)
        for name in (f"{kind}-whole", f"{kind}-killed"):
            subprocess.run(["rm", "-rf", str(self.folder / name)], check=True)
        many = streaming.show_kind(dltrain.PROGRAM, self.folder, kind, SIZE, epochs=3, steps=1500, held=HELD)
        self.assertGreater(many["bytes"], 0.95 * SIZE)
        self.assertTrue(many["killed"], "the run was over before it could be killed in its last epoch")
        self.assertTrue(many["resumed"])
        self.assertTrue(many["same"])
        if not sanitized():
            self.assertGreater(few["peak"], 1_000_000)
            for peak in (many["peak"], many["resumed_peak"]):
                self.assertLess(peak, few["peak"] + ROOM)

    def test_csv(self):
        self.check("csv")

    def test_hdf5(self):
        self.check("hdf5")


if __name__ == "__main__":
    dltrain.main()
