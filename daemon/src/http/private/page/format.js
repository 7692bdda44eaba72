// Numbers, sizes, times and errors as people read them.

const WHOLE = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const SHORT = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });
const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

// What does not show, or looks like another character: controls, marks of direction, what has no width,
// spaces at an end or beside another, and spaces that are none.
const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]|(?! )\p{Zs}|^ | $|(?<= ) /u;
const ESCAPED = new RegExp(`${UNSEEN.source}|\\\\`, 'gu');

// A text from outside, as it is shown. No two look alike by this: what looks escaped is escaped, too.
export function visible(text) {
  if (!UNSEEN.test(text) && !text.includes('\\u')) return text;
  return text.replace(ESCAPED, (it) => (it === '\\' ? '\\\\' : escape(it.codePointAt(0).toString(16).toUpperCase())));
}

const escape = (hex) => (hex.length > 4 ? `\\u{${hex}}` : `\\u${hex.padStart(4, '0')}`);

export function count(value) {
  return value < 100_000 ? WHOLE.format(value) : SHORT.format(value);
}

export function rate(value) {
  if (value === null) return '–';
  return value > 0 && value < 10 ? value.toFixed(1) : count(value);
}

export function bytes(value) {
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit && value < 100 ? value.toFixed(1) : Math.round(value)} ${UNITS[unit]}`;
}

export function milliseconds(value) {
  if (value === null || value === undefined) return null;
  return `${value < 10 ? value.toFixed(2) : Math.round(value)} ms`;
}

export function duration(seconds) {
  for (const [length, name] of [[86_400, 'd'], [3_600, 'h'], [60, 'min']]) {
    if (seconds >= 2 * length) return `${Math.floor(seconds / length)} ${name}`;
  }
  return `${Math.floor(seconds)} s`;
}

// How long ago, in steps that do not change with every look.
export function since(time) {
  if (!time) return null;
  const seconds = Math.max(0, (Date.now() - Date.parse(time)) / 1000);
  return seconds < 60 ? 'less than a minute' : duration(seconds);
}

export const words = (name) =>
  name.replaceAll('_', ' ').replace(/([a-z])([A-Z])/g, (_, end, begin) => `${end} ${begin.toLowerCase()}`);

export function sentence({ status, code, message, retryAfter } = {}) {
  if (code === 'invalid_credentials') return 'The name or the password is wrong.';
  if (status === 429) return `Too many attempts. Try again in ${wait(retryAfter)}.`;
  if (code === 'no_answer') return 'The node does not answer.';
  return message ? `The node said: ${message}.` : 'Something went wrong.';
}

function wait(seconds) {
  if (!seconds) return 'a little while';
  if (seconds < 90) return seconds === 1 ? '1 second' : `${seconds} seconds`;
  return `${Math.ceil(seconds / 60)} minutes`;
}
