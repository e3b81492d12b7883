"""The bytes of a dataset: shards, meta, facts, card, packing, order. Pure: values in and out."""
