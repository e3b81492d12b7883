"""The bytes of a dataset: shards, meta, facts, card, packing, order. Pure: arrays and bytes in and out."""
