"""Just enough of MPEG audio to tell how long a file plays."""

_KBPS = {3: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)}
_KBPS[2] = _KBPS[0] = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}


def mp3_seconds(data: bytes) -> float:
    """Walks every layer III frame from the first byte to the last; raises where one does not follow the other."""
    at = seconds = 0
    while at < len(data):
        head = int.from_bytes(data[at : at + 4], "big")
        version, layer = head >> 19 & 3, head >> 17 & 3
        assert head >> 21 == 0x7FF and layer == 1, f"no frame at {at}"
        kbps, rate = _KBPS[version][head >> 12 & 15], _RATES[version][head >> 10 & 3]
        samples = 1152 if version == 3 else 576
        at += samples // 8 * kbps * 1000 // rate + (head >> 9 & 1)
        seconds += samples / rate
    assert at == len(data)
    return seconds
