dltrain fit resume-cut-checkpoint.yaml --run "$T/run" -v 0 -t 1
head -c 3000 "$T/run/checkpoints/last.weights.h5" >"$T/cut.weights.h5"
dltrain fit resume-cut-checkpoint.yaml --run "$T/other" --resume "$T/cut.weights.h5"
