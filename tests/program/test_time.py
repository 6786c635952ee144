"""`time` trains as `fit` does: on the same batches, from the same weights, with the same losses. Its times are looked at for sense only."""
import json

from support import Program, main, metrics, shipped

STEPS = 6
NOT_FINITE = 5
WARM_UP = 3  # steps that time takes before it measures
DIGITS = shipped("digits-cnn.yaml")
ALONE = ("-o", "data.validation=null", "-o", "fit.callbacks=[]")


class Time(Program):
    def timing(self, *words):
        return json.loads(self.good("time", DIGITS, "--format", "json", "--steps", STEPS, *ALONE, *words))

    def epochs_of_one_step(self, *words):
        """The run of an epoch for each step, so that its losses are those of the steps."""
        return self.fit(DIGITS, *ALONE, "-o", "fit.steps_per_epoch=1", "-o",
                        f"fit.epochs={STEPS + WARM_UP}", *words)

    def test_its_losses_are_those_of_fit(self):
        run = self.epochs_of_one_step()
        losses = self.timing("--whole")["losses"]
        self.assertEqual(len(losses), STEPS + WARM_UP)
        for of_fit, of_time in zip(metrics(run), losses):
            self.assertAlmostEqual(of_fit["loss"], of_time, delta=1e-6)
        self.assertNotEqual(losses[0], losses[1])

    def test_it_begins_with_the_weights_it_is_given(self):
        run = self.epochs_of_one_step("-o", "fit.epochs=20")
        self.assertLess(self.timing("--whole", "--weights", run)["losses"][0], 0.9 * self.timing("--whole")["losses"][0])

    def test_whole_leaves_out_the_layers(self):
        self.assertEqual(self.timing("--whole")["layers"], [])
        self.assertNotIn("one_thread", self.timing("--whole"))
        found = self.timing("--threads", 2)
        self.assertGreater(found["one_thread"], 0)
        self.assertGreater(len(found["layers"]), 5)
        self.assertAlmostEqual(sum(layer["flops"] for layer in found["layers"]), found["flops"], delta=1e-6 * found["flops"])

    def test_times_make_sense(self):
        found = self.timing("--whole", "--threads", 1)
        self.assertTrue(0 < found["fastest"] <= found["step"] <= found["slowest"])
        self.assertGreaterEqual(found["mean"] * STEPS, found["fastest"] * STEPS)
        self.assertTrue(0 <= found["waiting"] < 1)
        self.assertGreater(found["peak"], 1e8)
        self.assertLess(found["flops"] / found["fastest"], 1.5 * found["peak"])

    def test_fewer_records_than_a_batch(self):
        self.assertEqual(len(self.timing("--whole", "--batch", 4000)["losses"]), STEPS + WARM_UP)

    def test_a_loss_that_is_not_finite_is_no_time(self):
        result = self.expect(self.start("time", DIGITS, "--whole", *ALONE, "-o", "optimizer={SGD: {learning_rate: 1e30}}"), NOT_FINITE)
        self.assertIn("not finite", result.stderr)
        self.assertEqual(result.stdout, "")


if __name__ == "__main__":
    main()
