"""What OpenAI's dialects share: messages, parts, tools, parameters, errors and headers.

No dialect of its own; the dialects beside it build on it and never on each other.
"""
