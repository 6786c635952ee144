dltrain fit predict-image-for-table.yaml --run "$T/run" -v 0 -t 1
dltrain predict "$T/run" --input data/pictures/cat/1.png
