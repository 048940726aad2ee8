"""The console: one page at `/console`, with its assets and the figures it draws."""
