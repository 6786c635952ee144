"""Every command that README.md and docs/ show is run, in a copy of the folders that it needs; what is generated is up to date."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import unittest

from dltrain import BUILD, DONE, PROGRAM, SOURCE, TestCase, main, run

# run by the tests' own script, or not by the program at all
ELSEWHERE = ("./build.sh", "./test.sh", "cmake")

# two kinds that their length tells apart
FLOWERS = "".join(f"{4.5 + i % 7 / 10 + 1.5 * (i % 2)},{2 + i % 5 / 10},{('setosa', 'virginica')[i % 2]}\n" for i in range(120))


def blocks(path):
    """Shell lines of a document's blocks that are marked as sh, in order."""
    found = re.findall(r"^```sh\n(.*?)^```", path.read_text(), re.M | re.S)
    return [line.split("  #")[0].strip() for block in found for line in block.splitlines() if line.strip()]


class Documents(TestCase):
    def setUp(self):
        super().setUp()
        shutil.copytree(SOURCE / "configs", self.folder / "configs", ignore=shutil.ignore_patterns("runs"))
        (self.folder / "bin").mkdir()
        (self.folder / "bin" / "dltrain").symlink_to(pathlib.Path(PROGRAM).resolve())
        (self.folder / "flowers.csv").write_text("length,width,species\n" + FLOWERS)

    def run_all(self, document):
        lines = blocks(SOURCE / document)
        self.assertTrue(lines, f"{document} shows no commands")
        environ = {**os.environ, "PATH": f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"}
        for line in lines:
            if line.startswith(ELSEWHERE):
                continue
            with self.subTest(line=line):
                done = subprocess.run(["sh", "-c", line], cwd=self.folder, env=environ, stdin=subprocess.DEVNULL,
                                      capture_output=True, text=True, errors="replace", timeout=300, check=False)
                self.assertEqual(done.returncode, 0, f"$ {line}\n{done.stdout}{done.stderr}")

    def test_readme(self):
        self.run_all("README.md")

    def test_the_first_model_is_the_shipped_one(self):
        shown = re.search(r"^```yaml\n(.*?)^```", (SOURCE / "README.md").read_text(), re.M | re.S).group(1)
        config = (SOURCE / "configs" / "digits-cnn.yaml").read_text()
        self.assertEqual(shown, "".join(line for line in config.splitlines(True) if not line.startswith("#")))

    def test_folders_of_the_tour_are_there(self):
        for path in re.findall(r"^\| `([^`]+)` \|", (SOURCE / "README.md").read_text(), re.M):
            self.assertTrue((SOURCE / path).exists(), path)

    def test_links_between_documents(self):
        """Paths in the prose of README and docs exist."""
        for document in [SOURCE / "README.md", SOURCE / "CONTRIBUTING.md", *sorted((SOURCE / "docs").glob("*.md"))]:
            if document.name in ("config.md", "adding-a-layer.md"):  # generated; names files that its reader makes
                continue
            for path in re.findall(r"`((?:docs|configs|tests|tools|bench|base|io|graph|schema|layers|backend|trainer|cmd)/[\w./-]*\w)`",
                                   document.read_text()):
                self.assertTrue((SOURCE / path).exists(), f"{document.name} names {path}")

    def test_doors_of_the_architecture_exist(self):
        """Each function that docs/architecture.md calls a stage's door is declared in the header that it names."""
        text = (SOURCE / "docs" / "architecture.md").read_text()
        rows = re.findall(r"^\|[^|]*\|[^|]*\| (`dlt_[^|]*) \| `([\w/]+\.h)`", text, re.M)
        self.assertGreaterEqual(len(rows), 7)
        for doors, header in rows:
            declared = (SOURCE / header).read_text()
            for door in re.findall(r"`(dlt_\w+)`", doors)[:1]:
                self.assertRegex(declared, rf"\b{door}\(", f"{header} declares no {door}")

    def test_the_reference_is_up_to_date(self):
        made = self.expect(run("help", "--markdown"), DONE).stdout
        self.assertEqual((SOURCE / "docs" / "config.md").read_text(), made,
                         "docs/config.md is old: dltrain help --markdown > docs/config.md")

    def test_shipped_configs_fit_the_schema(self):
        try:
            import jsonschema
            import yaml
        except ImportError:
            self.skipTest("needs jsonschema and yaml")
        import json

        class Loader(yaml.SafeLoader):
            """YAML as dltrain reads it: 1e-3 is a number too."""

        Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789"))
        schema = json.loads(self.expect(run("schema"), DONE).stdout)
        validator = jsonschema.validators.validator_for(schema)(schema)
        files = sorted((SOURCE / "configs").glob("*.yaml"))
        self.assertGreaterEqual(len(files), 7)
        for file in files:
            errors = [f"{e.json_path}: {e.message[:200]}" for e in validator.iter_errors(yaml.load(file.read_text(), Loader))]
            self.assertEqual(errors, [], file.name)
        broken = yaml.load((SOURCE / "configs" / "digits-cnn.yaml").read_text(), Loader)
        broken["layers"][2]["Conv2D"]["filtres"] = 3
        self.assertTrue(list(validator.iter_errors(broken)), "the schema lets a misspelt key through")

    def test_what_init_writes_is_good(self):
        """For each kind, on data of that kind (excerpts, if need be); names and layers are those of this program."""
        data = pathlib.Path(os.environ.get("DLTRAIN_DATA", SOURCE / "tests" / "data" / "excerpts"))
        data = data if (data / "mnist").is_dir() else SOURCE / "tests" / "data" / "excerpts"
        files = {"image": data / "mnist" / "train-images-idx3-ubyte.gz", "table": self.folder / "flowers.csv",
                 "text": data / "text" / "tinyshakespeare.txt", "regression": data / "tabular" / "housing.csv",
                 "transformer": data / "text" / "tinyshakespeare.txt"}
        for kind, file in files.items():
            with self.subTest(kind=kind):
                model = self.folder / f"{kind}.yaml"
                more = ("-o", "data.train.CSV.target=median_house_value") if kind == "regression" else ()
                self.expect(run("init", "--kind", kind, "--data", file, "--output", model), DONE)
                self.expect(run("check", model, *more), DONE)

    def test_installed_files(self):
        prefix = self.folder / "prefix"
        subprocess.run(["cmake", "--install", str(BUILD), "--prefix", str(prefix)], check=True, capture_output=True, timeout=120)
        for path in ["bin/dltrain", "share/man/man1/dltrain.1", "share/bash-completion/completions/dltrain",
                     "share/zsh/site-functions/_dltrain", "share/fish/vendor_completions.d/dltrain.fish",
                     "share/dltrain/configs/digits-cnn.yaml", "share/dltrain/configs/data/digits.csv.gz"]:
            self.assertTrue((prefix / path).is_file(), path)
        self.expect(run("check", prefix / "share/dltrain/configs/digits-cnn.yaml", program=prefix / "bin/dltrain"), DONE)


if __name__ == "__main__":
    sys.path.insert(0, str(SOURCE / "tests" / "program"))
    main()
