"""verify-resume is worth something: bugs planted on purpose (trainer/planted.h) turn it red, each by itself."""

import os

import dltrain

PLANTED = os.environ.get("DLTRAIN_PLANTED", str(dltrain.BUILD / "tests" / "dltrain_planted"))


class Planted(dltrain.TestCase):
    def verify(self, bug):
        result = dltrain.run("verify-resume", dltrain.SOURCE / "configs/digits-cnn.yaml", "--epochs", 3, "--steps", 4,
                             "--folder", self.folder, program=PLANTED, environ={"DLTRAIN_PLANT": bug})
        self.expect(result, dltrain.FAILED if bug else dltrain.DONE)
        stops = {}  # what is told of each stop: [equal or DIFFERS, differences...]
        for line in result.stdout.splitlines():
            if line.startswith(("stopped", "killed")):
                verdict = "equal" if " equal " in line else "DIFFERS" if " DIFFERS " in line else "?"
                stops[line.split("  ")[0]] = last = [verdict]
            elif line.startswith("  "):
                last.append(line.strip())
        self.assertEqual(len(stops), 6, result.stdout)
        return stops

    def assert_names_a_weight(self, told):
        self.assertEqual(told[0], "DIFFERS")
        self.assertRegex(told[1], r"^/layers/conv2d/vars/0 \(conv2d/kernel, \S*digits-cnn.yaml:10:5\): \d+ of \d+ elements differ, the first at \d+: \S+ and \S+$")

    def test_nothing_planted_nothing_found(self):
        self.assertEqual({told[0] for told in self.verify("").values()}, {"equal"})

    def test_a_slot_of_the_optimizer_that_is_not_read(self):
        for told in self.verify("slot").values():
            self.assert_names_a_weight(told)

    def test_a_place_in_the_data_that_is_one_batch_off(self):
        for told in self.verify("cursor").values():
            self.assert_names_a_weight(told)

    def test_a_snapshot_that_later_steps_overwrite(self):
        stops = self.verify("buffer")
        killed = [told for what, told in stops.items() if what.startswith("killed")]
        self.assertEqual(len(killed), 1)
        self.assert_names_a_weight(killed[0])
        # nothing comes after the save where a run is stopped between steps: only the kill can show it
        self.assertTrue(all(told == ["equal"] for what, told in stops.items() if what.startswith("stopped in epoch")))

    def test_the_product_has_none_of_it(self):
        with open(dltrain.PROGRAM, "rb") as product, open(PLANTED, "rb") as planted:
            self.assertNotIn(b"DLTRAIN_PLANT", product.read())
            self.assertIn(b"DLTRAIN_PLANT", planted.read())


if __name__ == "__main__":
    dltrain.main()
