"use strict";
// The sum without any rounding. A double is a whole number times a power of two, and so are products and sums of some.

function dyadic(value) {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, value);
  const bits = view.getBigUint64(0), biased = Number((bits >> 52n) & 0x7ffn), fraction = bits & ((1n << 52n) - 1n);
  const whole = biased ? fraction | (1n << 52n) : fraction;
  return {whole: bits >> 63n ? -whole : whole, power: Math.max(biased, 1) - 1075};
}

function addDyadic(a, b) {
  if (a.whole === 0n || b.whole === 0n) return a.whole === 0n ? b : a;
  const power = Math.min(a.power, b.power);
  return {whole: (a.whole << BigInt(a.power - power)) + (b.whole << BigInt(b.power - power)), power};
}

// The nearest double. A long number is cut to 100 bits and one that says whether anything was cut off.
function nearestDouble({whole, power}) {
  const size = whole < 0n ? -whole : whole, drop = Math.max(0, size.toString(2).length - 100),
    kept = size >> BigInt(drop);
  const cut = (kept << 1n) | ((kept << BigInt(drop)) === size ? 0n : 1n);
  let value = Number(whole < 0n ? -cut : cut);
  for (let left = power + drop - 1; left && value;) {
    const step = Math.max(-1000, Math.min(1000, left)); // 2 ** step is a double
    value *= 2 ** step;
    left -= step;
  }
  return value;
}

// A trace's exact sum as {value, equals}: its nearest double, and whether a number is just it; null where none is.
function exactSum(trace) {
  const factors = [...trace.terms.map(term => term.values), ...(trace.bias === null ? [] : [[trace.bias]])];
  if (!factors.flat().every(Number.isFinite)) return null;
  const sum = factors.map(values => values.map(dyadic).reduce((a, b) => ({whole: a.whole * b.whole, power: a.power
    + b.power})))
    .reduce(addDyadic, {whole: 0n, power: 0});
  const equals = number => Number.isFinite(number)
    && addDyadic(sum, dyadic(-number)).whole === 0n;
  return {value: nearestDouble(sum), equals};
}
