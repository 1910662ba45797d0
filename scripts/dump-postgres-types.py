#!/usr/bin/env python3
"""Writes test/postgres/types.json: what Python's asyncpg makes of a value of each built-in type.

    python3 scripts/dump-postgres-types.py postgres://user@host:port/database > test/postgres/types.json

Values are written in the canonical form that test/postgres/types.test.ts brings ours into.
"""
import asyncio
import datetime
import decimal
import ipaddress
import json
import struct
import sys
import uuid

import asyncpg

VALUES = {
    'bool': ['true', 'false'],
    'int2': ['0', '-32768', '32767'],
    'int4': ['0', '-2147483648', '2147483647'],
    'int8': ['0', '-9223372036854775808', '9223372036854775807', '4294967296', '-4294967297'],
    'oid': ['0', '4294967295'],
    'xid': ['4294967295'],
    'cid': ['3'],
    'xid8': ['18446744073709551615'],
    'float4': ['0', '1.5', '-0.1', '3.4028235e38', '1e-40', 'NaN', 'Infinity', '-Infinity'],
    'float8': ['0', '-0', '1.1', '1e308', '5e-324', 'NaN', 'Infinity', '-Infinity'],
    'numeric': ['0', '0.00', '1', '-1', '10000', '12345678901234567890.123456789', '0.0001',
                '-0.00010000', '99999999', '1e20', '1e-20', '100000000.00000001', 'NaN'],
    'numeric(10,2)': ['1.5', '-99999999.99'],
    'text': ['', 'abc', 'h\u00e9llo \u4e16\u754c \U0001f600', "quote ' and \\ back"],
    'varchar(10)': ['abc'],
    'bpchar': ['abc'],
    'char(5)': ['abc'],
    'name': ['pg_class'],
    '"char"': ['a'],
    'bytea': ['', '\\x00ff10', '\\x' + '5c' * 20],
    'uuid': ['12345678-9abc-def0-1234-56789abcdef0', '00000000-0000-0000-0000-000000000000'],
    'json': ['{"a": [1, 2, {"b": null}], "c": "\u00e9"}', '"text"', 'null', '3'],
    'jsonb': ['{"a": [1, 2, {"b": null}], "c": "\u00e9"}', '"text"', 'null', '[true, false]'],
    'jsonpath': ['$."a"[*]'],
    'xml': ['<a>b</a>'],
    'date': ['2000-01-01', '1999-12-31', '2024-02-29', '0001-01-01', '9999-12-31', '1970-01-01'],
    'time': ['00:00:00', '23:59:59.999999', '12:34:56.5'],
    'timetz': ['12:34:56+02', '00:00:00.5-03:30', '23:59:59+00'],
    'timestamp': ['2000-01-01 00:00:00', '1999-12-31 23:59:59.999999', '2024-02-29 12:00:00.5',
                  '0001-01-01 00:00:00', '9999-12-31 23:59:59'],
    'timestamptz': ['2000-01-01 00:00:00+00', '1999-12-31 23:59:59.999999+00',
                    '2024-02-29 12:00:00.5+02', '1969-07-20 20:17:40+00'],
    'interval': ['1 day', '-1 day', '1 year 2 months 3 days 04:05:06.789', '00:00:00.000001',
                 '-5 months', '0'],
    'inet': ['192.168.0.1', '10.0.0.0/8', '::1', '2001:db8::ff00:42:8329', '2001:db8::/32'],
    'cidr': ['10.0.0.0/8', '192.168.1.1/32', '2001:db8::/32', '::/0'],
    'macaddr': ['08:00:2b:01:02:03'],
    'macaddr8': ['08:00:2b:01:02:03:04:05'],
    'bit(9)': ['101010101'],
    'bit(8)': ['00001111'],
    'varbit': ['', '1', '0101010111'],
    'point': ['(1.5,-2)'],
    'line': ['{1,2,3}'],
    'lseg': ['[(1,2),(3,4)]'],
    'box': ['((3,4),(1,2))'],
    'path': ['((1,2),(3,4))', '[(1,2),(3,4),(5,6)]'],
    'polygon': ['((1,2),(3,4),(5,6))'],
    'circle': ['<(1,2),3>'],
    'money': ['12.34', '-1000000'],
    'tsvector': ["'a':1A 'b':2,3"],
    'tsquery': ["'a' & !'b'"],
    'pg_lsn': ['16/B374D848', '0/0'],
    'tid': ['(5,6)'],
    'regclass': ['pg_class'],
    'regtype': ['integer'],
    'regproc': ['now'],
    'regprocedure': ['abs(integer)'],
    'regoper': ['||/'],
    'regoperator': ['+(integer,integer)'],
    'regrole': ['postgres'],
    'regnamespace': ['pg_catalog'],
    'regconfig': ['simple'],
    'regdictionary': ['simple'],
    'regcollation': ['"C"'],
    'refcursor': ['a cursor'],
    'aclitem': ['postgres=r/postgres'],
    'txid_snapshot': ['10:20:10,14,15'],
    'pg_snapshot': ['10:20:10,14,15'],
    'int4range': ['[1,5)', '(,3)', '[2,)', 'empty', '(,)'],
    'int8range': ['[1,9223372036854775807)'],
    'numrange': ['[1.5,2.5]', '(1,2)'],
    'daterange': ['[2020-01-01,2020-02-01)'],
    'tsrange': ['["2020-01-01 00:00:00","2020-02-01 12:30:00"]'],
    'tstzrange': ['["2020-01-01 00:00:00+00","2020-02-01 12:30:00+00")'],
    'int4multirange': ['{}', '{[1,3),[5,8)}'],
    'int8multirange': ['{[1,9223372036854775807)}'],
    'tsmultirange': ['{["2020-01-01 00:00:00","2020-02-01 12:30:00"]}'],
    'tstzmultirange': ['{["2020-01-01 00:00:00+00","2020-02-01 12:30:00+00")}'],
    'nummultirange': ['{[1.5,2.5]}'],
    'datemultirange': ['{[2020-01-01,2020-02-01),[2021-01-01,)}'],
    'int4[]': ['{}', '{1,NULL,3}', '{{1,2},{3,4}}', '{{{1},{2}},{{3},{4}}}'],
    'int8[]': ['{1,-1}'],
    'bool[]': ['{t,f,NULL}'],
    'float8[]': ['{1.5,NaN}'],
    'numeric[]': ['{1.10,NULL}'],
    'text[]': ['{a,"b c","q\\"x",NULL,"NULL",""}', '{{a,b},{c,d}}'],
    'varchar[]': ['{a}'],
    'bytea[]': ['{"\\\\x00ff",NULL}'],
    'uuid[]': ['{12345678-9abc-def0-1234-56789abcdef0}'],
    'jsonb[]': ['{"{\\"a\\": 1}","[1]"}'],
    'date[]': ['{2020-01-01,NULL}'],
    'timestamptz[]': ['{"2020-01-01 00:00:00+00"}'],
    'interval[]': ['{"1 day","2 days"}'],
    'inet[]': ['{10.0.0.1,::1}'],
    'point[]': ['{"(1,2)","(3,4)"}'],
    'box[]': ['{(3,4),(1,2);(5,6),(3,4)}'],
    'int4range[]': ['{"[1,3)",empty}'],
    'money[]': ['{1.00,2.00}'],
    'int2vector': ['1 2 3'],
    'oidvector': ['1 2'],
}


def trimmed(text):
    return text.rstrip('0').rstrip('.') if '.' in text else text


def number(value):
    return 'f:nan' if value != value else 'f:' + struct.pack('>d', value).hex()


def canon(value, kind):
    kind = kind.removesuffix('[]')
    if value is None:
        return 'null'
    if kind in ('json', 'jsonb') and isinstance(value, str):
        parsed = json.loads(value)
        return 'j:' + json.dumps(parsed, sort_keys=True, separators=(',', ':'), ensure_ascii=False)
    if kind == 'pg_lsn':
        return 's:%X/%X' % (value >> 32, value & 0xffffffff)
    if kind in ('txid_snapshot', 'pg_snapshot'):
        low, high, running = value
        return 's:%d:%d:%s' % (low, high, ','.join(map(str, running)))
    if kind == 'tid':
        return 's:(%d,%d)' % value
    if isinstance(value, bool):
        return 'true' if value else 'false'
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return number(value)
    if isinstance(value, decimal.Decimal):
        return 's:' + format(value, 'f')
    if isinstance(value, str):
        return 's:' + value
    if isinstance(value, bytes):
        return 's:' + value.decode() if kind == '"char"' else 'x:' + value.hex()
    if isinstance(value, (uuid.UUID, ipaddress._IPAddressBase)):
        return 's:' + str(value)
    if isinstance(value, datetime.datetime):
        if value.tzinfo:
            value = value.astimezone(datetime.timezone.utc).replace(tzinfo=None)
        return 't:' + trimmed(value.isoformat(' '))
    if isinstance(value, datetime.date):
        return 't:' + value.isoformat()
    if isinstance(value, datetime.time):
        zone = ''
        if value.tzinfo:
            zone = value.isoformat()[-6:].removesuffix(':00')
            value = value.replace(tzinfo=None)
        return 't:' + trimmed(value.isoformat()) + zone
    if isinstance(value, datetime.timedelta):
        return 'i:%d' % (value // datetime.timedelta(microseconds=1))
    if isinstance(value, asyncpg.Range):
        if value.isempty:
            return 'r:empty'
        bounds = ','.join(canon(bound, kind) for bound in (value.lower, value.upper))
        return 'r:' + '(['[value.lower_inc] + bounds + ')]'[value.upper_inc]
    if isinstance(value, asyncpg.BitString):
        return 's:' + value.as_string().replace(' ', '')
    if isinstance(value, (asyncpg.Path, asyncpg.Polygon)):
        points = ';'.join(canon(point, kind) for point in value)
        closed = not isinstance(value, asyncpg.Polygon) and value.is_closed
        return 'g:%s%s' % ('closed ' if closed else '', points)
    if isinstance(value, asyncpg.Point):
        return 'g:%s %s' % (number(value.x), number(value.y))
    if isinstance(value, asyncpg.Box):
        return 'g:%s;%s' % (canon(value.high, kind), canon(value.low, kind))
    if isinstance(value, asyncpg.LineSegment):
        return 'g:%s;%s' % (canon(value.p1, kind), canon(value.p2, kind))
    if isinstance(value, asyncpg.Line):
        return 'g:' + ' '.join(number(part) for part in (value.A, value.B, value.C))
    if isinstance(value, asyncpg.Circle):
        return 'g:%s;%s' % (canon(asyncpg.Point(*value.center), kind), number(value.radius))
    if isinstance(value, (list, tuple)):
        return '[' + ','.join(canon(item, kind) for item in value) + ']'
    raise TypeError(f'{kind}: {value!r}')


async def main():
    connection = await asyncpg.connect(sys.argv[1])
    rows = []
    for kind, literals in VALUES.items():
        for literal in literals:
            quoted = "'" + literal.replace("'", "''") + "'"
            value = await connection.fetchval(f'SELECT {quoted}::{kind}')
            rows.append({'type': kind, 'literal': literal, 'value': canon(value, kind)})
    await connection.close()
    lines = ',\n'.join('  ' + json.dumps(row, ensure_ascii=False) for row in rows)
    print(f'[\n{lines}\n]')


asyncio.run(main())
