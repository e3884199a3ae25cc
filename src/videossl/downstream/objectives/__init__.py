"""What fine-tuning learns of a kind of labels, one file each."""
