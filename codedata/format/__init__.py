"""The bytes of a dataset: shards, meta, card, packing, order. Pure: arrays and bytes in and out."""
