dltrain fit evaluate-which-typo.yaml --run "$T/run" -v 0 -t 1
dltrain evaluate "$T/run" --data train --which bset
