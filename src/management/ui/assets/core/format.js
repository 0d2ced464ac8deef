// Numbers and times as people read them.

const counts = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const shorts = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });

export const isNumber = (value) => typeof value === 'number' && Number.isFinite(value);

export const count = (value) => (isNumber(value) ? counts.format(value) : '–');

/** At most five characters, for tiles and axes. */
export function short(value) {
    if (!isNumber(value)) return '–';
    if (Math.abs(value) < 10) return String(Number(value.toFixed(2)));
    return Math.abs(value) < 10000 ? counts.format(value) : shorts.format(value);
}

export function rate(value) {
    if (!isNumber(value)) return '–';
    if (value === 0) return '0/s';
    if (value < 10) return `${value.toFixed(1)}/s`;
    return `${value < 100000 ? counts.format(value) : shorts.format(value)}/s`;
}

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

export function bytes(value) {
    if (!isNumber(value)) return '–';
    let unit = 0;
    let left = value;
    while (Math.abs(left) >= 1024 && unit < UNITS.length - 1) {
        left /= 1024;
        unit += 1;
    }
    return `${unit === 0 || left >= 100 || Number.isInteger(left) ? Math.round(left) : left.toFixed(1)} ${UNITS[unit]}`;
}

export const bytesRate = (value) => (isNumber(value) ? `${bytes(value)}/s` : '–');

export function duration(ms) {
    if (!isNumber(ms)) return '–';
    const seconds = Math.floor(ms / 1000);
    if (ms < 1000) return `${Math.round(ms)} ms`;
    if (seconds < 120) return `${seconds} s`;
    const minutes = Math.floor(seconds / 60);
    if (minutes < 120) return `${minutes} min`;
    const hours = Math.floor(minutes / 60);
    if (hours < 48) return `${hours} h ${minutes % 60} min`;
    return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

const two = (number) => String(number).padStart(2, '0');

export function clock(ms, withSeconds = true) {
    const time = new Date(ms);
    return `${two(time.getHours())}:${two(time.getMinutes())}${withSeconds ? `:${two(time.getSeconds())}` : ''}`;
}

export function date(ms) {
    if (!isNumber(ms)) return '–';
    const time = new Date(ms);
    return `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())} ${clock(ms)}`;
}

export const percent = (part, whole) => (isNumber(part) && whole > 0 ? `${Math.round((100 * part) / whole)} %` : '–');

export const plural = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;

/** A value of an argument or header, in one line. */
export const value = (given) => (typeof given === 'string' ? given : JSON.stringify(given));
