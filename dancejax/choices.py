"""What can be chosen that has no registry, and defaults that flags show; imports nothing."""

DRAWS = ("batch", "image")
"""Whether the choice among operations is made once a batch or for each image in training; strengths
are drawn for each image."""
PLACEMENTS = ("device", "host")
"""Where the data set lives."""
INITS = ("real", "real_mean", "real_nearest", "first_nearest", "noise")
"""real: random images, each reduced smoothly to a tile. real_mean: by the mean of pixels (IDM).
real_nearest: by leaving out pixels. first_nearest: so, and the first images of each class (DANCE's
authors). noise: uniform."""
PRESETS = ("paper", "auto")
HARD = ("dm", "dance", "gdumb", "ncfm")
"""Protocols of training on hard labels."""
SOFT = "_soft"
"""After a protocol's name: the same on soft labels."""
PROTOCOLS = (*HARD, *(name + SOFT for name in HARD))
PIXELS = ("unit", "byte", "normalised", "whitened")
"""What the numbers of somebody else's set mean."""
SOFT_LABELS = ("shares", "logits")
"""What several numbers an image are, where labels are soft."""
EMBEDDINGS = ("pca", "tsne")

EXPERTS, PROXIES, CHOSEN = "experts", "proxies", "chosen"
"""Parts of programs that others wait for, or that wait for all."""
SEARCH_EPOCHS, WHOLE_EPOCHS = 200, 100
"""Epochs of an architecture search on a small set, and on the whole one."""
SPACES = {
    "dm720": "depth=1,2,3,4 width=32,64,128,256 activation=sigmoid,relu,leaky_relu "
    "norm=none,batch,layer,instance,group pooling=none,max,avg"
}
"""Search spaces by name. dm720: DM (WACV 2023), section 4.4."""
CONTINUAL_PROTOCOL = "gdumb"
"""Of training on the memory in continual learning."""
