dltrain fit fit-override-typo.yaml -o fit.epoch=3 -o optimizer.learning_rat=0.1
