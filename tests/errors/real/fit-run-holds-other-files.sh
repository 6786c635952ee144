mkdir "$T/run" && echo mine >"$T/run/notes.txt"
dltrain fit fit-run-holds-other-files.yaml --run "$T/run"
