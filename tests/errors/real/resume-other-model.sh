dltrain fit resume-other-model.yaml --run "$T/run" -v 0 -t 1
dltrain fit resume-other-model.yaml --run "$T/run" -o seed=3 -o fit.epochs=2
