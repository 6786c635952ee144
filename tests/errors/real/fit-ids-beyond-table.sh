dltrain fit fit-ids-beyond-table.yaml --run "$T/run" -v 0 -t 1 --reference
