dltrain fit --epochs 3 fit-keras-flag.yaml
