"""Variants of the OpenAI dialect that other vendors' documents describe, one module each.

A variant shapes a body for `openai_chat` and may import it: the only dialects that know another one. What a variant
does not change, it hands through.
"""
