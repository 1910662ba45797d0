/**
 * Days and microseconds since 2000-01-01 as text, and back: for all years PostgreSQL has.
 *
 * In: counts, or ISO text. Out: the other. Never: Date, whose years end earlier; a time zone that
 * is not in the text (UTC).
 */
import { refuse } from './codec.ts';

export const microsPerDay = 86_400_000_000n;
/** Days from 0000-03-01, where the algorithm counts from, to 2000-01-01. */
const epochShift = 730_425;

/** (year, month, day) of a day number; the year before 1 is 0. (H. Hinnant: civil_from_days) */
function civil(days: number): [number, number, number] {
  const z = days + epochShift;
  const era = Math.floor(z / 146_097);
  const dayOfEra = z - era * 146_097;
  const yearOfEra = Math.floor(
    (dayOfEra -
      Math.floor(dayOfEra / 1460) +
      Math.floor(dayOfEra / 36_524) -
      Math.floor(dayOfEra / 146_096)) /
      365,
  );
  const dayOfYear =
    dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const shifted = Math.floor((5 * dayOfYear + 2) / 153);
  const month = shifted < 10 ? shifted + 3 : shifted - 9;
  const day = dayOfYear - Math.floor((153 * shifted + 2) / 5) + 1;
  return [yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, day];
}

function dayNumber(year: number, month: number, day: number): number {
  const y = month <= 2 ? year - 1 : year;
  const era = Math.floor(y / 400);
  const yearOfEra = y - era * 400;
  const dayOfYear = Math.floor((153 * (month > 2 ? month - 3 : month + 9) + 2) / 5) + day - 1;
  const dayOfEra =
    yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear;
  return era * 146_097 + dayOfEra - epochShift;
}

const two = (value: number): string => String(value).padStart(2, '0');

/** ['2000-01-02', ' BC' or '']. */
function dateParts(days: number): [string, string] {
  const [year, month, day] = civil(days);
  const shown = year > 0 ? year : 1 - year;
  return [`${String(shown).padStart(4, '0')}-${two(month)}-${two(day)}`, year > 0 ? '' : ' BC'];
}

export function dateText(days: number): string {
  return dateParts(days).join('');
}

/** Microseconds of a day: '03:04:05.6'. */
export function timeText(micros: number): string {
  const seconds = Math.floor(micros / 1e6);
  const fraction = micros - seconds * 1e6;
  const minutes = Math.floor(seconds / 60);
  const time = [Math.floor(minutes / 60), minutes % 60, seconds % 60].map(two).join(':');
  return fraction === 0 ? time : `${time}.${String(fraction).padStart(6, '0').replace(/0+$/, '')}`;
}

export function timestampText(micros: bigint, zone: string): string {
  let days = micros / microsPerDay;
  let rest = micros % microsPerDay;
  if (rest < 0n) {
    rest += microsPerDay;
    days -= 1n;
  }
  const [date, era] = dateParts(Number(days));
  return `${date} ${timeText(Number(rest))}${zone}${era}`;
}

/** Seconds east of UTC: '+02', '-03:30'. */
export function zoneText(secondsEast: number): string {
  const size = Math.abs(secondsEast);
  const parts = [Math.floor(size / 3600), Math.floor(size / 60) % 60, size % 60];
  while (parts.length > 1 && parts[parts.length - 1] === 0) parts.pop();
  return (secondsEast < 0 ? '-' : '+') + parts.map(two).join(':');
}

const dateForm = /^(\d{4,7})-(\d\d)-(\d\d)( BC)?$/;
const timeForm = /^(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,6}))?)?$/;
const zoneForm = /^([+-])(\d\d)(?::?(\d\d))?(?::?(\d\d))?$/;
/** A date, then perhaps a time with or without a zone. */
const stampForm: RegExp = new RegExp(
  '^(\\d{4,6}-\\d\\d-\\d\\d)' +
    '(?:[ T](\\d\\d:\\d\\d(?::\\d\\d(?:\\.\\d{1,6})?)?)\\s?' +
    '(Z|[+-]\\d\\d(?::?\\d\\d)?(?::?\\d\\d)?)?)?( BC)?$',
);

const monthDays = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

export function parseDate(text: string): number {
  const [, yearText, monthText, dayText, era] = dateForm.exec(text) ?? [];
  const [month, day] = [Number(monthText), Number(dayText)];
  const known = Number(yearText);
  const year = era === undefined ? known : 1 - known;
  if (!(known > 0) || !(day >= 1 && day <= (monthDays[month - 1] ?? 0))) {
    throw refuse("a Date or text such as '2000-01-31'", text);
  }
  const days = dayNumber(year, month, day);
  if (day === 29 && month === 2 && civil(days)[2] !== 29) throw refuse('a day that exists', text);
  return days;
}

export function parseTime(text: string): number {
  const [, hours, minutes, seconds = '0', fraction = ''] = timeForm.exec(text) ?? [];
  const micros =
    (Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds)) * 1e6 +
    Number(fraction.padEnd(6, '0'));
  if (!(micros >= 0 && micros <= 86_400e6) || Number(minutes) > 59 || Number(seconds) > 59) {
    throw refuse("text such as '23:59:59.999'", text);
  }
  return micros;
}

/** Seconds east of UTC. */
export function parseZone(text: string): number {
  if (text === 'Z') return 0;
  const [, sign, hours, minutes = '0', seconds = '0'] = zoneForm.exec(text) ?? [];
  if (sign === undefined || Number(hours) > 15 || Number(minutes) > 59) {
    throw refuse("a zone such as '+02:00'", text);
  }
  const size = Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds);
  return sign === '-' ? -size : size;
}

/** Microseconds since 2000 in UTC. A zone counts only for timestamptz, as in PostgreSQL. */
export function parseTimestamp(text: string, zoned: boolean): bigint {
  const [, date, time, zone, era = ''] = stampForm.exec(text) ?? [];
  if (date === undefined) throw refuse("a Date or text such as '2000-01-31 12:00:00'", text);
  const days = BigInt(parseDate(date + era));
  const micros = days * microsPerDay + BigInt(time === undefined ? 0 : parseTime(time));
  return zone === undefined || !zoned ? micros : micros - BigInt(parseZone(zone)) * 1_000_000n;
}
