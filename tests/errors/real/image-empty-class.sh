cp -r data/pictures "$T/pictures" && mkdir "$T/pictures/yak"
dltrain check image-empty-class.yaml -o data.train.ImageFolder.path="$T/pictures" -o layers[2].units=3
