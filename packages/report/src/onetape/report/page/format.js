// Numbers and times as text, in one form everywhere.

const numberFormats = new Map();

function numberText(value, decimals) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "-";
  if (!numberFormats.has(decimals)) {
    const digits = { minimumFractionDigits: decimals, maximumFractionDigits: decimals };
    numberFormats.set(decimals, new Intl.NumberFormat("en-US", digits));
  }
  const text = numberFormats.get(decimals).format(value);
  return /^-[0.,]*$/.test(text) ? text.slice(1) : text; // no "-0.00"
}

function signedText(value, decimals) {
  const text = numberText(value, decimals);
  return value > 0 && /[1-9]/.test(text) ? "+" + text : text;
}

// The fewest decimals, up to `maximum`, that write the value exactly.
function shortText(value, maximum) {
  const text = numberText(value, maximum);
  return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
}

// The same, with more decimals where the first four digits need them: 0.000000001 is not 0.
function amountText(value, maximum) {
  const first = value ? Math.floor(Math.log10(Math.abs(value))) : 0;
  return shortText(value, Math.min(Math.max(maximum, 3 - first), 20));
}

function timeText(seconds) {
  return new Date(seconds * 1000).toISOString().slice(0, 16).replace("T", " ");
}

function durationText(seconds) {
  const days = Math.floor(seconds / 86400);
  const hours = Math.floor((seconds % 86400) / 3600);
  const minutes = Math.floor((seconds % 3600) / 60);
  if (days) return hours ? `${days} d ${hours} h` : `${days} d`;
  if (hours) return minutes ? `${hours} h ${minutes} min` : `${hours} h`;
  return `${minutes} min`;
}
