/** Formats values for people. */

/** Formats a duration in milliseconds: "0.4 ms", "28 ms", "1.25 s", "3 min 5 s", "2 h 4 min". */
export function duration(ms: number): string {
  if (!Number.isFinite(ms)) return '';
  if (ms < 0) return `-${duration(-ms)}`;
  if (ms < 10) return `${ms.toFixed(ms < 1 ? 2 : 1)} ms`;
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 9.995) return `${seconds.toFixed(2)} s`;
  if (seconds < 59.95) return `${seconds.toFixed(1).replace(/\.0$/, '')} s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return joined(Math.floor(whole / 60), 'min', whole % 60, 's');
  const minutes = Math.floor(whole / 60);
  if (minutes < 48 * 60) return joined(Math.floor(minutes / 60), 'h', minutes % 60, 'min');
  const hours = Math.floor(minutes / 60);
  return joined(Math.floor(hours / 24), 'd', hours % 24, 'h');
}

function joined(large: number, largeUnit: string, small: number, smallUnit: string): string {
  return small === 0 ? `${large} ${largeUnit}` : `${large} ${largeUnit} ${small} ${smallUnit}`;
}

/** Formats a size in bytes: "0 B", "812 B", "1.4 KiB", "64 MiB". */
export function bytes(count: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = count;
  let unit = 0;
  while (value >= 1023.95 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  const text = unit === 0 || value >= 99.95 ? String(Math.round(value)) : value.toFixed(1).replace(/\.0$/, '');
  return `${text} ${units[unit]}`;
}

const pad = (value: number, digits = 2) => String(value).padStart(digits, '0');

/** Formats a time of day in the browser's time zone: "14:21:08.041". */
export function clock(time: number, hasMillis = true): string {
  const date = new Date(time);
  const text = `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`;
  return hasMillis ? `${text}.${pad(date.getMilliseconds(), 3)}` : text;
}

/** Formats a date and time in the browser's time zone: "2026-11-30 14:21:08.041". */
export function dateTime(time: number): string {
  const date = new Date(time);
  return `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())} ${clock(time)}`;
}

/** Formats the time that is left until `expires`: "expires in 14 min 3 s" or "expired 5 s ago". */
export function countdown(expires: number, now: number): string {
  const left = expires - now;
  const text = wholeSeconds(Math.abs(left));
  return left > 0 ? `expires in ${text}` : `expired ${text} ago`;
}

/** Formats a duration that changes while it is shown, in whole seconds: "1 s", "3 min 5 s". */
export function wholeSeconds(ms: number): string {
  return duration(Math.max(1000, Math.round(ms / 1000) * 1000)).replace(/\.0+ s$/, ' s');
}

/** Formats the time since the start of an entry: "+0.4 ms", "+12.104 s", "+2:30.104". */
export function since(ms: number): string {
  if (ms < 1000) return `+${duration(Math.max(0, ms))}`;
  const minutes = Math.floor(ms / 60_000);
  const seconds = (ms % 60_000) / 1000;
  return minutes === 0 ? `+${seconds.toFixed(3)} s` : `+${minutes}:${seconds.toFixed(3).padStart(6, '0')}`;
}

/** Formats a rate: "0/s", "0.3/s", "12/s". */
export function rate(perSecond: number): string {
  const text = perSecond >= 9.95 ? perSecond.toFixed(0) : perSecond.toFixed(1).replace(/\.0$/, '');
  return `${text}/s`;
}

/** Formats a count with its noun: "1 event", "3 events". */
export function count(value: number, noun: string, plural = `${noun}s`): string {
  return `${value.toLocaleString('en')} ${value === 1 ? noun : plural}`;
}
