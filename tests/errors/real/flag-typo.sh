dltrain check --formt json flag-typo.yaml
