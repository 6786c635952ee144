"""A run whose logs were cut or deleted while it was stopped goes on, and says what is missing."""
import pathlib
import sys

import dltrain

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "sweeps"))
import tiny  # noqa: E402


class LostRows(dltrain.TestCase):
    def setUp(self):
        super().setUp()
        self.run_folder = tiny.make(self.folder / "trial")
        self.expect(tiny.fit(self.run_folder, "--stop-after", 3), dltrain.SAVED)
        self.history = self.run_folder / "run" / "history.csv"
        self.whole = self.history.read_bytes()
        self.assertEqual(self.whole.count(b"\r\n"), 2)  # header and first epoch

    def goes_on(self):
        result = self.expect(tiny.fit(self.run_folder), dltrain.DONE)
        self.assertRegex(result.stderr, r"history\.csv' is \d+ bytes shorter than when the checkpoint was saved")
        return self.history.read_bytes().decode().split("\r\n")

    def test_a_row_that_is_missing_is_told_of(self):
        header = self.whole.split(b"\r\n")[0] + b"\r\n"
        self.history.write_bytes(header)
        lines = self.goes_on()
        self.assertEqual([line.split(",")[0] for line in lines], ["epoch", "1", "2", ""])

    def test_a_history_that_is_gone_begins_anew(self):
        self.history.unlink()
        lines = self.goes_on()
        self.assertEqual([line.split(",")[0] for line in lines], ["epoch", "1", "2", ""])
        self.assertEqual({line.count(",") for line in lines[:-1]}, {lines[0].count(",")})


if __name__ == "__main__":
    dltrain.main()
