dltrain check model.yaml
