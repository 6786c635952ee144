"""What stands under the name of --output: nothing, a file, a link, a pipe, a device, a folder; and readers that leave.

Everything is tried on names in a folder of the test's own, and on a terminal that it opened: never on those of /dev.
"""

import os
import pathlib
import pty
import re
import shlex
import shutil
import signal
import stat
import subprocess
import threading
import time
import tty

import support_predict as sp
from dltrain import PROGRAM

MODEL = """\
name: outputs
seed: 0
data:
  train: {CSV: {path: rows.csv, target: y}}
layers:
  - Dense: {units: 1}
optimizer: SGD
loss: mse
fit: {epochs: 1, batch_size: 4}
"""
ROWS = [f"{i}.5,{i}" for i in range(20)]

trained = None
schema = None


def setUpModule():
    global trained, schema
    trained = sp.Case("setUp")
    trained.setUp()
    trained.write("model.yaml", MODEL)
    trained.write("rows.csv", "\n".join(["x,y", *ROWS]) + "\n")
    trained.run_ok("fit", "model.yaml", "--run", "run", "--verbose", 0)
    schema = trained.run_ok("schema")


def tearDownModule():
    trained.doCleanups()


class Names(sp.Case):
    def setUp(self):
        super().setUp()
        self.rows = self.write("rows.csv", "\n".join(["x,y", *ROWS]) + "\n")
        self.wanted = self.run_ok("predict", trained.path("run"), "--input", self.rows)
        self.assertEqual(len(self.wanted.splitlines()), 1 + len(ROWS))
        # The words of a command that writes a file of any name, and what it has to write.
        self.commands = [(("schema",), schema),
                         (("predict", trained.path("run"), "--input", self.rows, "--format", "csv"), self.wanted)]

    def read(self, name):
        return pathlib.Path(self.path(name)).read_text(encoding="utf-8")

    def names(self):
        return sorted(set(os.listdir(self.folder)) - {"rows.csv"})

    # ---- '-' ----

    def test_a_dash_is_standard_output(self):
        for words, wanted in self.commands:
            self.assertEqual(self.run_ok(*words, "--output", "-"), wanted)
        self.assertEqual(self.run_ok("predict", trained.path("run"), "--input", self.rows, "--output", "-"), self.wanted)
        self.assertIn("layers:", self.run_ok("init", "--output", "-"))
        self.assertEqual(self.names(), [])

    def test_a_name_of_standard_output_is_standard_output(self):
        """A link to /proc/self/fd/1, which is what /dev/stdout is: a pipe first, then a file that is added to."""
        os.symlink("/proc/self/fd/1", self.path("out"))
        for words, wanted in self.commands:
            self.assertEqual(self.run_ok(*words, "--output", "out"), wanted)
        line = " ".join([shlex.quote(os.path.abspath(PROGRAM)), "schema --output out"])
        done = subprocess.run(f"echo first >log; {line} >>log", shell=True, cwd=self.folder, check=False)
        self.assertEqual(done.returncode, 0)
        self.assertEqual(self.read("log"), "first\n" + schema)
        self.assertTrue(os.path.islink(self.path("out")))
        self.assertEqual(self.names(), ["log", "out"])

    def test_formats_that_do_not_stream_want_a_file(self):
        os.mkfifo(self.path("pipe"))
        for form in ("npy", "hdf5"):
            words = ("predict", trained.path("run"), "--input", self.rows, "--format", form, "--output")
            self.assertIn("this format needs a file: give --output", self.run_fails(sp.CONFIG, *words, "-"))
            self.assertIn("this format needs a regular file, and 'pipe' is none", self.run_fails(sp.CONFIG, *words, "pipe"))
        self.assertTrue(stat.S_ISFIFO(os.lstat(self.path("pipe")).st_mode))
        self.assertEqual(self.names(), ["pipe"])

    # ---- links ----

    def test_links_are_followed(self):
        os.makedirs(self.path("far/deep"))
        for words, wanted in self.commands:
            pathlib.Path(self.path("far/file")).write_text("old")
            os.symlink("far/link", self.path("link"))
            os.symlink("deep/../file", self.path("far/link"))
            before = os.stat(self.path("far/file")).st_ino
            self.run_ok(*words, "--output", "link")
            self.assertEqual(self.read("far/file"), wanted)
            self.assertNotEqual(os.stat(self.path("far/file")).st_ino, before)  # replaced in one step, not overwritten
            self.assertEqual(os.readlink(self.path("link")), "far/link")
            self.assertEqual(os.readlink(self.path("far/link")), "deep/../file")
            os.unlink(self.path("far/file"))  # and now the links lead to nothing
            self.run_ok(*words, "--output", "link")
            self.assertEqual(self.read("far/file"), wanted)
            self.assertEqual(sorted(os.listdir(self.path("far"))), ["deep", "file", "link"])
            os.unlink(self.path("link"))
            os.unlink(self.path("far/link"))
        self.assertEqual(self.names(), ["far"])

    def test_hdf5_and_npy_follow_links_too(self):
        os.mkdir(self.path("far"))
        for name, start in (("p.npy", b"\x93NUMPY"), ("p.h5", b"\x89HDF")):
            os.symlink(os.path.join(self.path("far"), name), self.path(name))
            self.run_ok("predict", trained.path("run"), "--input", self.rows, "--output", name)
            self.assertTrue(os.path.islink(self.path(name)))
            self.assertTrue(pathlib.Path(self.path("far/" + name)).read_bytes().startswith(start))

    def test_links_in_a_circle(self):
        os.symlink("b", self.path("a"))
        os.symlink("a", self.path("b"))
        for words, _ in self.commands:
            self.assertIn("cannot write 'a': Too many levels of symbolic links",
                          self.run_fails(sp.OUTPUT, *words, "--output", "a"))
        self.assertEqual(self.names(), ["a", "b"])

    def test_a_failure_leaves_what_the_link_leads_to(self):
        os.symlink("file", self.path("link"))
        self.write("file", "old")
        bad = self.write("bad.csv", "x,y\n1.5,1\nwhat,2\n")
        self.assertNotEqual(self.call("predict", trained.path("run"), "--input", bad, "--output", "link").returncode, 0)
        self.assertEqual(self.read("file"), "old")
        self.assertEqual(self.names(), ["bad.csv", "file", "link"])

    def test_init_follows_links_and_replaces_nothing(self):
        os.symlink("file", self.path("link"))
        self.run_ok("init", "--output", "link")
        first = self.read("file")
        self.assertIn("layers:", first)
        self.assertIn("'link' exists and is left as it is",
                      self.run_fails(sp.OUTPUT, "init", "--kind", "table", "--output", "link"))
        self.assertEqual(self.read("file"), first)
        self.assertTrue(os.path.islink(self.path("link")))

    # ---- pipes and devices ----

    def check_pipe(self, name):
        for words, wanted in [*self.commands, (("init",), self.run_ok("init", "--output", "-"))]:
            got = []
            reader = threading.Thread(target=lambda: got.append(self.read(name)), daemon=True)
            reader.start()
            self.run_ok(*words, "--output", name)
            self.assertTrue(stat.S_ISFIFO(os.stat(self.path(name)).st_mode))
            reader.join(60)
            self.assertEqual(got, [wanted])

    def test_a_pipe_is_written_into(self):
        os.mkfifo(self.path("pipe"))
        self.check_pipe("pipe")
        os.symlink("pipe", self.path("link"))
        self.check_pipe("link")
        self.assertEqual(self.names(), ["link", "pipe"])

    def test_a_terminal_is_written_into(self):
        """A character device for which nobody needs rights."""
        ours, theirs = pty.openpty()
        tty.setraw(theirs)
        os.symlink(os.ttyname(theirs), self.path("link"))
        for words, wanted in self.commands:
            got = bytearray()

            def read(bytes_wanted=len(wanted.encode()), got=got):
                while len(got) < bytes_wanted:
                    got.extend(os.read(ours, 1 << 16))

            reader = threading.Thread(target=read, daemon=True)
            reader.start()
            self.run_ok(*words, "--output", "link")
            reader.join(60)
            self.assertEqual(got.decode(), wanted)
        self.assertTrue(os.path.islink(self.path("link")))
        self.assertTrue(stat.S_ISCHR(os.stat(self.path("link")).st_mode))
        self.assertEqual(self.names(), ["link"])
        os.close(ours)
        os.close(theirs)

    def test_a_device_stays_a_device(self):
        """Our own /dev/null and /dev/full."""
        try:
            os.mknod(self.path("null"), 0o666 | stat.S_IFCHR, os.makedev(1, 3))
            os.mknod(self.path("full"), 0o666 | stat.S_IFCHR, os.makedev(1, 7))
            for name in ("null", "full"):
                os.close(os.open(self.path(name), os.O_WRONLY))
        except OSError as reason:
            self.skipTest(f"no device can be made here: {reason}")
        for words, _ in [*self.commands, (("init",), "")]:
            self.assertEqual(self.run_ok(*words, "--output", "null"), "")
            self.assertIn("cannot write 'full': No space left on device",
                          self.run_fails(sp.OUTPUT, *words, "--output", "full"))
            for name in ("null", "full"):
                self.assertTrue(stat.S_ISCHR(os.lstat(self.path(name)).st_mode))
        self.assertEqual(self.names(), ["full", "null"])

    # ---- what is kept ----

    def refused(self, name, *words, told):
        """The output is refused with 2 and one message, and nothing is touched."""
        before = {f: f.read_bytes() for f in pathlib.Path(self.folder).rglob("*") if f.is_file()}
        said = self.run_fails(sp.CONFIG, *words, "--output", name)
        self.assertEqual([line for line in said.splitlines() if not line.startswith("error: ")], [], said)
        self.assertRegex(said, rf"--output: '{re.escape(name)}' .*{told}.*; give another name")
        self.assertEqual({f: f.read_bytes() for f in pathlib.Path(self.folder).rglob("*") if f.is_file()}, before)

    def test_what_is_read_is_kept(self):
        shutil.copy(trained.path("run/checkpoints/final.weights.h5"), self.path("w.h5"))
        self.write("model.yaml", MODEL)
        predict = ("predict", trained.path("run"), "--input")
        os.symlink("rows.csv", self.path("link"))
        os.link(self.path("rows.csv"), self.path("same"))
        for name in ("rows.csv", "./rows.csv", "link", "same"):
            self.refused(name, *predict, "rows.csv", told="the input")
        with open(self.rows, encoding="utf-8") as rows:
            done = subprocess.run([os.path.abspath(PROGRAM), "predict", trained.path("run"), "--output", "rows.csv"], stdin=rows,
                                  cwd=self.folder, stderr=subprocess.PIPE, text=True, check=False)
        self.assertEqual(done.returncode, sp.CONFIG, done.stderr)
        self.refused("w.h5", "predict", "w.h5", "--input", "rows.csv", told="the checkpoint")
        self.write("new.csv", "x\n1\n")
        keras = ("predict", "model.yaml", "--weights", "w.h5", "--input", "new.csv")
        self.refused("w.h5", *keras, told="the file of weights")
        self.refused("model.yaml", *keras, told="the model file")
        self.refused("rows.csv", *keras, told="a file of the model's data")

    def test_runs_checkpoints_and_models_are_kept(self):
        shutil.copytree(trained.path("run"), self.path("run"), symlinks=True)
        shutil.copy(trained.path("run/checkpoints/final.weights.h5"), self.path("w.h5"))
        self.write("model.yaml", MODEL)
        self.write("model.conf", MODEL)
        self.write("half.yaml", MODEL + "fit: {epochs: [\n")
        self.write("cut.h5", "")
        data = pathlib.Path(self.path("w.h5")).read_bytes()
        pathlib.Path(self.path("cut.h5")).write_bytes(data[:len(data) // 2])
        os.symlink("run/run.json", self.path("link"))
        os.symlink("run/plan.json", self.path("new"))
        own = ["run/run.json", "run/checkpoints/last.weights.h5", "run/checkpoints/none.npy", "run/history.csv", "link", "new"]
        for words, _ in [*self.commands, (("init",), "")]:
            for name in own:
                self.refused(name, *words, told="is a file of a run")
        for words, _ in self.commands:
            for name, told in (("w.h5", "an HDF5 file"), ("cut.h5", "an HDF5 file"), ("model.yaml", "a model file"),
                               ("model.conf", "a model file"), ("half.yaml", "a model file")):
                self.refused(name, *words, told=told)

    def test_older_results_are_replaced(self):
        for name in ("p.csv", "p.jsonl", "p.npy", "p.h5", "p.txt"):
            words = ("predict", trained.path("run"), "--input", self.rows, "--output", name)
            self.run_ok(*words)
            first, inode = pathlib.Path(self.path(name)).read_bytes(), os.stat(self.path(name)).st_ino
            self.run_ok(*words)
            self.assertEqual(pathlib.Path(self.path(name)).read_bytes(), first)
            self.assertNotEqual(os.stat(self.path(name)).st_ino, inode)
        for name in ("schema.json", "schema.yaml"):
            for _ in range(2):
                self.run_ok("schema", "--output", name)

    # ---- what cannot be written ----

    def test_a_folder_is_refused(self):
        os.mkdir(self.path("folder"))
        for words, _ in [*self.commands, (("init",), "")]:
            self.assertIn("cannot write 'folder': Is a directory", self.run_fails(sp.OUTPUT, *words, "--output", "folder"))
        self.assertEqual(self.names(), ["folder"])
        self.assertEqual(os.listdir(self.path("folder")), [])


class Hints(sp.Case):
    """What is printed as the next command does what it says when it is pasted into a shell."""

    def next_commands(self, said):
        """The commands behind "next", with the program's whole path."""
        lines = re.findall(r"(?:next|^) +dltrain (.*)", said, re.MULTILINE)
        self.assertTrue(lines, said)
        return [shlex.quote(os.path.abspath(PROGRAM)) + " " + line for line in lines]

    def test_names_that_a_shell_would_take_apart(self):
        shell = shutil.which("bash")
        if shell is None:
            self.skipTest("no bash")
        rows = self.write("rows.csv", "\n".join(["x,y", *ROWS]) + "\n")
        self.write("model.yaml", MODEL.replace("{CSV: {path: rows.csv, target: y}}", "{CSV: {path: rows.csv, target: y}}\n  test: {CSV: {path: rows.csv, target: y}}"))
        for name in ("plain", "a b", "it's", "$HOME;ls", "`x`*", "-x", "~", "#1", "ta\tb", "\u00fc"):
            with self.subTest(name):
                done = self.call("fit", "model.yaml", "--run=" + name)
                self.assertEqual(done.returncode, 0, done.stderr)
                if name == "plain":
                    self.assertIn("next     dltrain evaluate plain\n         dltrain predict  plain --input FILE\n", done.stderr)
                commands = self.next_commands(done.stderr)
                self.assertEqual(len(commands), 2)
                for command in commands:
                    again = subprocess.run([shell, "-c", command.replace("FILE", shlex.quote(rows))], cwd=self.folder,
                                           capture_output=True, text=True, check=False)
                    self.assertEqual(again.returncode, 0, (command, again.stderr))
                done = self.call("fit", "model.yaml", "--run=" + name, "-o", "seed=3")
                self.assertEqual(done.returncode, sp.CHECKPOINT, done.stderr)
                word = re.search(r"--weights (.*?)   to start anew", done.stderr)[1]
                if name.isprintable():
                    self.assertEqual(os.path.normpath(shlex.split(word)[0]), name)

    def test_a_model_file(self):
        shell = shutil.which("bash")
        if shell is None:
            self.skipTest("no bash")
        for name in ("a b.yaml", "-x$y.yaml"):
            said = self.call("init", "--output=" + name).stderr
            [command] = self.next_commands(said)
            told = subprocess.run([shell, "-c", command], cwd=self.folder, capture_output=True, text=True, check=False).stderr
            self.assertIn(f"{name}:4:", told)  # it was found and read; the data that it names are not there


class Waiting(sp.Case):
    """A command that waits for the other side of a pipe ends when it is asked to, once and at once."""

    def ended_by(self, number, words, delay, **streams):
        """What a shell sees of a command that is sent a signal `delay` seconds after its start."""
        process = subprocess.Popen([os.path.abspath(PROGRAM), *map(str, words)], cwd=self.folder, stderr=subprocess.PIPE, text=True,
                                   **{"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, **streams})
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.kill)
        with self.assertRaises(subprocess.TimeoutExpired, msg=process):
            process.wait(delay)
        process.send_signal(number)
        code = process.wait(10)
        return code if code >= 0 else 128 - code

    def check(self, words, **streams):
        """Early and late; the moment between looking and waiting is somewhere among them."""
        for delay in (0.01, 0.05, 0.2):
            for number in (signal.SIGTERM, signal.SIGINT):
                with self.subTest(words=words, delay=delay, signal=number):
                    self.assertEqual(self.ended_by(number, words, delay, **streams), 128 + number)

    def test_for_standard_input(self):
        never, writer = os.pipe()
        self.addCleanup(os.close, never)
        self.addCleanup(os.close, writer)
        for words in (("predict", trained.path("run"), "--input", "-"), ("predict", trained.path("run"), "--output", "out.csv"),
                      ("check", "-"), ("fit", "-")):
            self.check(words, stdin=never)
        self.assertEqual(os.listdir(self.folder), [])  # nor a temporary file

    def test_for_the_rest_of_standard_input(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            reader, writer = os.pipe()
            os.write(writer, b"1.5\n2.5\n")
            self.assertEqual(self.ended_by(number, ("predict", trained.path("run")), 0.4, stdin=reader), 128 + number)
            os.close(reader)
            os.close(writer)

    def test_for_a_reader_that_does_not_come(self):
        os.mkfifo(self.path("pipe"))
        rows = self.write("rows.csv", "\n".join(["x,y", *ROWS]) + "\n")
        for words in (("predict", trained.path("run"), "--input", rows), ("schema",), ("init",)):
            self.check((*words, "--output", "pipe"))

    def test_for_a_reader_that_does_not_read(self):
        rows = self.write("many.csv", "\n".join(["x,y", *ROWS * 2000]) + "\n")
        os.mkfifo(self.path("pipe"))
        idle = os.open(self.path("pipe"), os.O_RDWR)
        self.addCleanup(os.close, idle)
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        self.addCleanup(os.close, writer)
        words = ("predict", trained.path("run"), "--input", rows)
        for number in (signal.SIGTERM, signal.SIGINT):
            self.assertEqual(self.ended_by(number, (*words, "--output", "pipe"), 0.5), 128 + number)
            self.assertEqual(self.ended_by(number, words, 0.5, stdout=writer), 128 + number)

    def test_a_slow_reader_gets_all(self):
        rows = self.write("many.csv", "\n".join(["x,y", *ROWS * 2000]) + "\n")
        wanted = self.run_ok("predict", trained.path("run"), "--input", rows)
        self.assertEqual(len(wanted.splitlines()), 1 + 2000 * len(ROWS))
        os.mkfifo(self.path("pipe"))
        with subprocess.Popen([os.path.abspath(PROGRAM), "predict", trained.path("run"), "--input", rows, "--output", "pipe"],
                              cwd=self.folder, stderr=subprocess.PIPE) as process:
            time.sleep(0.3)
            with open(self.path("pipe"), encoding="utf-8") as pipe:
                time.sleep(0.3)
                self.assertEqual(pipe.read(), wanted)
            process.communicate(timeout=60)
        self.assertEqual(process.returncode, 0)


class Readers(sp.Case):
    def test_one_that_leaves_is_no_accident(self):
        """Small and large outputs: those that fail in a write, and those that fail in the last flush."""
        config = trained.path("model.yaml")
        rows = self.write("many.csv", "\n".join(["x,y", *ROWS * 5000]) + "\n")
        for words in (("help",), ("help", "--markdown"), ("help", "Dense"), ("--help",), ("--version",), ("schema",),
                      ("man",), ("schema", "--output", "-"), ("init", "--output", "-"),
                      ("plan", config, "--format", "json"), ("summary", config), ("check", config),
                      ("evaluate", trained.path("run"), "--data", "train", "--format", "json"), ("predict", trained.path("run"), "--input", rows)):
            with self.subTest(words=words):
                ours, theirs = os.pipe()
                os.close(ours)  # gone before the first byte: no chance to be faster than the reader
                done = subprocess.run([os.path.abspath(PROGRAM), *map(str, words)], stdin=subprocess.DEVNULL,
                                      stdout=theirs, stderr=subprocess.PIPE, cwd=self.folder, timeout=60, check=False)
                os.close(theirs)
                self.assertEqual((done.returncode, done.stderr), (0, b""))

    def test_mistakes_are_still_told(self):
        ours, theirs = os.pipe()
        os.close(ours)
        done = subprocess.run([os.path.abspath(PROGRAM), "check", "no-such.yaml"], stdin=subprocess.DEVNULL,
                              stdout=theirs, stderr=subprocess.PIPE, cwd=self.folder, timeout=60, check=False)
        os.close(theirs)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(b"no-such.yaml", done.stderr)


class StandardOutput(sp.Case):
    """A result that cannot be written to standard output is no result: each command must say so and fail."""

    # What follows the command; those of fit go to standard error, which cannot be complained about.
    WORDS = {"check": ["model.yaml"], "plan": ["model.yaml"], "summary": ["model.yaml"],
             "evaluate": ["run", "--data", "rows.csv"], "predict": ["run", "--input", "rows.csv"],
             "verify-resume": ["model.yaml", "--random", 1], "reproduce": ["run"], "gradcheck": ["model.yaml"],
             "time": ["model.yaml", "--steps", 2], "debug": ["model.yaml"], "help": ["Dense"], "schema": [],
             "init": ["--output", "-"], "doctor": [], "completion": ["bash"], "man": []}

    def run_into_full(self, *words):
        with open("/dev/full", "w", encoding="utf-8") as full:
            return subprocess.run([os.path.abspath(PROGRAM), *map(str, words)], cwd=trained.folder, stdin=subprocess.DEVNULL,
                                  stdout=full, stderr=subprocess.PIPE, text=True, timeout=300, check=False)

    def test_each_command_tells_that_it_is_full(self):
        commands = re.findall(r"^  ([a-z][a-z-]*) ", self.run_ok("--help"), re.MULTILINE)
        self.assertEqual(set(commands), {"fit", *self.WORDS})
        for words in [*([c, *self.WORDS[c]] for c in commands if c != "fit"), ["--help"], ["--version"], ["fit", "--help"],
                      ["plan", "model.yaml", "--format", "json"], ["reproduce", "run", "--dry-run"]]:
            with self.subTest(words=words):
                done = self.run_into_full(*words)
                self.assertEqual(done.returncode, sp.OUTPUT, done.stderr)
                self.assertIn("cannot write to standard output: No space left on device", done.stderr)

    def test_each_command_tells_that_it_is_closed(self):
        line = "exec " + shlex.join([os.path.abspath(PROGRAM)]) + ' "$@" >&-'
        for words in [*([c, *self.WORDS[c]] for c in self.WORDS), ["--help"], ["predict", "run", "--input", "rows.csv", "--output", "/dev/stdout"]]:
            with self.subTest(words=words):
                done = subprocess.run(["sh", "-c", line, "sh", *map(str, words)], cwd=trained.folder, stdin=subprocess.DEVNULL,
                                      stderr=subprocess.PIPE, text=True, timeout=300, check=False)
                self.assertEqual(done.returncode, sp.OUTPUT, done.stderr)
                self.assertIn("cannot write to standard output: Bad file descriptor", done.stderr)
        for words in (["predict", "run", "--input", "rows.csv", "--output", "/dev/null"], ["fit", "model.yaml", "--run", "run"]):
            done = subprocess.run(["sh", "-c", line, "sh", *words], cwd=trained.folder, stdin=subprocess.DEVNULL,
                                  stderr=subprocess.PIPE, text=True, timeout=300, check=False)  # which write nothing there
            self.assertEqual(done.returncode, 0, done.stderr)


if __name__ == "__main__":
    sp.main()
