"""A run that is stopped, by whom and whenever, goes on to the same bytes."""

import dltrain

SHORT = dltrain.overrides(fit__epochs=3, fit__steps_per_epoch=6)


class Stopped(dltrain.TestCase):
    def test_runs_are_repeatable(self):
        for run in ("a", "b"):
            self.expect(dltrain.run("fit", dltrain.SOURCE / "configs/digits-cnn.yaml", "--run", self.folder / run, *SHORT),
                        dltrain.DONE)
        self.assertEqual(dltrain.outcome(self.folder / "a"), dltrain.outcome(self.folder / "b"))


if __name__ == "__main__":
    dltrain.main()
