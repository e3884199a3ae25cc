"""Videos to clips: datasets, decoding, shards, sampling, augmentation."""
