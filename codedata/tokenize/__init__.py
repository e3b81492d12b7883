"""Text -> ids, exactly as the tokenizer's own files say."""
