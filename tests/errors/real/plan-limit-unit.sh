dltrain plan plan-limit-unit.yaml --limit 4apples
