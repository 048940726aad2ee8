"""Is a deployed gateway alive, streaming and metering? `make smoke URL=... KEY=...`, standard library only."""
