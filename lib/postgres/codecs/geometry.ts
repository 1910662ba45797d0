/**
 * Geometric types, as plain objects.
 *
 * In: binary fields, or objects. Out: objects, or binary. Never: text.
 */
import type { Writer } from '../writer.ts';
import { type Codec, checkBytes, FieldError, refuse } from './codec.ts';

export interface Point {
  readonly x: number;
  readonly y: number;
}

/** ax + by + c = 0. */
export interface Line {
  readonly a: number;
  readonly b: number;
  readonly c: number;
}

export interface LineSegment {
  readonly start: Point;
  readonly end: Point;
}

/** `high`: the upper right corner. */
export interface Box {
  readonly high: Point;
  readonly low: Point;
}

export interface Path {
  readonly points: readonly Point[];
  readonly closed: boolean;
}

export interface Polygon {
  readonly points: readonly Point[];
}

export interface Circle {
  readonly center: Point;
  readonly radius: number;
}

function readPoint(view: DataView, at: number): Point {
  return { x: view.getFloat64(at), y: view.getFloat64(at + 8) };
}

function readPoints(name: string, view: DataView, at: number, end: number): Point[] {
  const count = end - at < 4 ? -1 : view.getInt32(at);
  if (end - at - 4 !== count * 16) throw new FieldError(name, `${count} points`);
  const points: Point[] = [];
  for (let i = 0; i < count; i++) points.push(readPoint(view, at + 4 + i * 16));
  return points;
}

type Fields = Readonly<Record<string, unknown>>;

function fieldsOf(value: unknown, expected: string): Fields {
  if (typeof value !== 'object' || value === null) throw refuse(expected, value);
  return value as Fields;
}

function writeNumber(out: Writer, value: unknown, expected: string): void {
  if (typeof value !== 'number') throw refuse(expected, value);
  out.float64(value);
}

function writePoint(out: Writer, value: unknown): void {
  const { x, y } = fieldsOf(value, 'a point { x, y }');
  writeNumber(out, x, 'a number as x');
  writeNumber(out, y, 'a number as y');
}

function writePoints(out: Writer, value: unknown, expected: string): void {
  const { points } = fieldsOf(value, expected);
  if (!Array.isArray(points)) throw refuse(expected, value);
  out.int32(points.length);
  for (const point of points) writePoint(out, point);
}

export const pointCodec: Codec = {
  name: 'point',
  binary: true,
  decode(_buffer, view, at, end) {
    checkBytes('point', at, end, 16);
    return readPoint(view, at);
  },
  encode: writePoint,
};

export const lineCodec: Codec = {
  name: 'line',
  binary: true,
  decode(_buffer, view, at, end): Line {
    checkBytes('line', at, end, 24);
    return { a: view.getFloat64(at), b: view.getFloat64(at + 8), c: view.getFloat64(at + 16) };
  },
  encode(out, value) {
    const { a, b, c } = fieldsOf(value, 'a line { a, b, c }');
    for (const number of [a, b, c]) writeNumber(out, number, 'a line { a, b, c } of numbers');
  },
};

export const lsegCodec: Codec = {
  name: 'lseg',
  binary: true,
  decode(_buffer, view, at, end): LineSegment {
    checkBytes('lseg', at, end, 32);
    return { start: readPoint(view, at), end: readPoint(view, at + 16) };
  },
  encode(out, value) {
    const { start, end } = fieldsOf(value, 'a line segment { start, end }');
    writePoint(out, start);
    writePoint(out, end);
  },
};

export const boxCodec: Codec = {
  name: 'box',
  binary: true,
  decode(_buffer, view, at, end): Box {
    checkBytes('box', at, end, 32);
    return { high: readPoint(view, at), low: readPoint(view, at + 16) };
  },
  encode(out, value) {
    const { high, low } = fieldsOf(value, 'a box { high, low }');
    writePoint(out, high);
    writePoint(out, low);
  },
};

export const pathCodec: Codec = {
  name: 'path',
  binary: true,
  decode(buffer, view, at, end): Path {
    return { points: readPoints('path', view, at + 1, end), closed: buffer[at] === 1 };
  },
  encode(out, value) {
    const { closed } = fieldsOf(value, 'a path { points, closed }');
    if (typeof closed !== 'boolean') throw refuse('a path { points, closed }', value);
    out.byte(closed ? 1 : 0);
    writePoints(out, value, 'a path { points, closed }');
  },
};

export const polygonCodec: Codec = {
  name: 'polygon',
  binary: true,
  decode: (_buffer, view, at, end): Polygon => ({ points: readPoints('polygon', view, at, end) }),
  encode: (out, value) => writePoints(out, value, 'a polygon { points }'),
};

export const circleCodec: Codec = {
  name: 'circle',
  binary: true,
  decode(_buffer, view, at, end): Circle {
    checkBytes('circle', at, end, 24);
    return { center: readPoint(view, at), radius: view.getFloat64(at + 16) };
  },
  encode(out, value) {
    const { center, radius } = fieldsOf(value, 'a circle { center, radius }');
    writePoint(out, center);
    writeNumber(out, radius, 'a circle { center, radius }');
  },
};
