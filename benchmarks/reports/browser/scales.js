// Axes: where a value lies, and round ticks. A logarithmic axis of a power is one of decibels, with even steps.

function scaleOf(values, kind, from, to) {
  const inner = kind === "log" ? Math.log10 : kind === "dB" ? decibels : (value) => value;
  const seen = values.map(inner).filter(Number.isFinite);
  let low = Math.min(...seen), high = Math.max(...seen);
  if (!seen.length) [low, high] = [0, 1];
  const margin = high > low ? 0.05 * (high - low) : kind === "linear" ? 0.05 * Math.abs(low) || 1 : 0.5;
  [low, high] = [low - margin, high + margin];
  const onto = (place) => from + ((place - low) / (high - low)) * (to - from);
  return {
    place: (value) => onto(inner(value)),
    ticks: (most) => (kind === "log" ? powers(low, high, most) : multiples(low, high, most)).map((tick) => ({
      at: onto(tick),
      label: written(kind === "log" ? Number((10 ** tick).toPrecision(3)) : tick, 4),
    })),
  };
}

// Multiples of 1, 2, 2.5 or 5 times a power of ten, as many as have room.
function multiples(low, high, most) {
  const decade = 10 ** Math.floor(Math.log10((high - low) / most));
  const step = [1, 2, 2.5, 5, 10].map((part) => part * decade).find((width) => (high - low) / width <= most);
  const count = Math.floor(high / step) - Math.ceil(low / step) + 1;
  return Array.from({ length: count }, (_, i) => Number(((Math.ceil(low / step) + i) * step).toPrecision(12)));
}

const PARTS = [[1], [1, 3], [1, 2, 5], [1, 1.5, 2, 3, 5, 7], [1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 9]];

// Logarithms of decades or of parts of them, as fine as have room.
function powers(low, high, most) {
  const decades = Array.from({ length: Math.ceil(high) - Math.floor(low) + 1 }, (_, i) => Math.floor(low) + i);
  let best = [];
  const every = Math.max(1, Math.ceil((high - low) / most));
  for (const parts of PARTS) {
    const chosen = parts.length > 1 ? decades : decades.filter((decade) => decade % every === 0);
    const ticks = chosen.flatMap((decade) => parts.map((part) => decade + Math.log10(part)));
    const inside = ticks.filter((tick) => tick >= low && tick <= high);
    if (inside.length <= most && inside.length > best.length) best = inside;
  }
  if (best.length >= 2) return best;
  return multiples(10 ** low, 10 ** high, most).filter((tick) => tick > 0).map(Math.log10);
}
