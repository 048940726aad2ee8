// Money is nano-dollars in BigInt from the wire to the screen: no amount ever passes through a float.

const NANO = 1_000_000_000n;
const MONEY_MEMBER = /"(\w+_nano(?:_usd)?)":(\s*)(-?\d+)/g;

// JSON with its amounts as decimal strings, which BigInt reads without loss. Inside a JSON string the quotes of such a
// member would be escaped, so only members match.
export function parse(text) {
  return JSON.parse(text.replace(MONEY_MEMBER, '"$1":$2"$3"'));
}

export function nano(value) {
  return value === null || value === undefined ? null : BigInt(value);
}

// Exact, without the zeros that say nothing beyond cents: $12.50, $0.000345.
export function money(amount) {
  const sign = amount < 0n ? "-" : "";
  const size = amount < 0n ? -amount : amount;
  const decimals = (size % NANO).toString().padStart(9, "0").replace(/0+$/, "").padEnd(2, "0");
  return `${sign}$${count(size / NANO)}.${decimals}`;
}

// For the height of a line in a chart only.
export function drawn(amount) {
  return Number(amount) / 1e9;
}

// Whole numbers with separators, whatever their size; the same on every machine.
export function count(value) {
  return value.toString().replace(/\B(?=(\d{3})+(?!\d))/g, ",");
}

// How much of a budget is gone, in hundredths.
export function share(spent, limit) {
  if (limit <= 0n) return 100;
  const hundredths = (spent * 100n) / limit;
  return Number(hundredths < 0n ? 0n : hundredths > 100n ? 100n : hundredths);
}
