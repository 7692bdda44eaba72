// Numbers, times and errors as people read them.

const decimal = (digits) =>
  new Intl.NumberFormat('en', { minimumFractionDigits: digits, maximumFractionDigits: digits });
const TWO = decimal(2);
const FOUR = decimal(4);
const WHOLE = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const COMPACT = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });
const CLOCK = new Intl.DateTimeFormat(undefined, { timeStyle: 'medium' });

// Small prices, currency pairs mostly, are quoted to four places.
export const price = (value) => (Math.abs(value) < 10 ? FOUR : TWO).format(value);
export const amount = (value) => TWO.format(value);
export const quantity = (value) => WHOLE.format(value);
export const volume = (value) => COMPACT.format(value);
export const percent = (value) => `${TWO.format(Math.abs(value))} %`;
export const clock = (time) => CLOCK.format(new Date(time));

// The sign as a class, shown as an arrow as well as a colour.
export function direction(value) {
  if (value > 0) return 'up';
  return value < 0 ? 'down' : '';
}

export function showChange(element, value, text) {
  element.textContent = text;
  element.classList.remove('up', 'down');
  const way = direction(value);
  if (way) element.classList.add(way);
}

// One sentence for what the server or the connection said.
export function sentence({ code, message, retryAfter } = {}) {
  const wait = retryAfter ? ` Try again in ${seconds(retryAfter)}.` : '';
  switch (code) {
    case 'rate_limited':
      return `Too many requests.${wait || ' Try again in a little while.'}`;
    case 'subscription_limit':
      return 'You have reached the limit of subscriptions. Remove a symbol first.';
    case 'invalid_params':
      return 'That is not a symbol: use up to 32 letters, digits and . ^ = / : -';
    case 'forbidden':
      return 'You may not watch that.';
    case 'unavailable':
    case 'shutting_down':
      return `The server is not available just now.${wait}`;
    case 'no_connection':
      return 'The server cannot be reached just now. Try again when the page is live.';
    case 'invalid_session':
    case 'expired_session':
    case 'missing_credentials':
    case 'user_mismatch':
      return 'Your session has ended. Please log in again.';
    default:
      return message ? `The server said: ${message}.${wait}` : `Something went wrong.${wait}`;
  }
}

export function seconds(count) {
  const whole = Math.max(1, Math.ceil(count));
  return whole === 1 ? '1 second' : `${whole} seconds`;
}
