"""Two `fit` at the same moment in the same run directory: one trains, the other is refused, and nothing is lost."""
import pathlib
import subprocess
import sys

import dltrain

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "sweeps"))
import tiny  # noqa: E402

TIMES, AT_ONCE = 12, 3


class Lock(dltrain.TestCase):
    def at_once(self, folder):
        """Starts some together; return codes and what they said."""
        processes = [subprocess.Popen(dltrain.command(*tiny.words()), cwd=folder, stdin=subprocess.DEVNULL,
                                      stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) for _ in range(AT_ONCE)]
        return [(process.communicate(timeout=60)[1], process.returncode) for process in processes]

    def repeat(self, begin):
        slot = tiny.Slot(self.folder / "slot")
        run = tiny.Undisturbed(slot)
        refused = 0
        for _ in range(TIMES):
            begin(run)
            ended = self.at_once(slot.folder)
            for said, code in ended:
                # 0: it trained, or came when all was done
                self.assertIn(code, (dltrain.DONE, dltrain.CHECKPOINT), said)
                if code == dltrain.CHECKPOINT:
                    self.assertRegex(said, "in use by process|run the same command again|holds a run already")
                    refused += 1
            self.assertIn(dltrain.DONE, [code for _, code in ended], ended)
            self.assertEqual(run.damaged(), [])
            self.assertEqual(run.differ(), [])
            self.assertFalse((slot.folder / "run" / "lock").exists())
        self.assertGreater(refused, 0)  # or they were never there at the same moment

    def test_a_new_run_has_one_owner(self):
        self.repeat(lambda run: run.begin("begins"))

    def test_a_dead_owners_run_has_one_heir(self):
        def begin(run):
            dead = subprocess.Popen(["true"])
            dead.wait()
            folder = run.begin("resumes")
            boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
            (folder / "run" / "lock").write_text(f"{dltrain.os.uname().nodename} {dead.pid} {boot} 1 locked\n")

        self.repeat(begin)


if __name__ == "__main__":
    dltrain.main()
