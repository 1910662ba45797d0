/**
 * Forms that came as a body.
 *
 * In: a request. Out: the Web's FormData. Never: a file on disk.
 */
import { type HttpHeaders, trimBlanks } from './headers.ts';
import { HttpError } from './http-error.ts';
import type { BodyPart } from './multipart.ts';

/** A request, as far as forms need it. */
export interface FormSource {
  readonly headers: Headers | HttpHeaders;
  text(): Promise<string>;
  multipart(): AsyncIterable<BodyPart>;
}

/** HttpError 415 for another content type, 400 for a malformed form, 413 above a limit. */
export async function readForm(source: FormSource): Promise<FormData> {
  const type = source.headers.get('content-type') ?? '';
  const [essence = ''] = type.split(';');
  const form = new FormData();
  switch (trimBlanks(essence).toLowerCase()) {
    case 'application/x-www-form-urlencoded':
      for (const [name, value] of new URLSearchParams(await source.text())) {
        form.append(name, value);
      }
      return form;
    case 'multipart/form-data':
      for await (const part of source.multipart()) await addPart(form, part);
      return form;
    default:
      throw new HttpError(415, 'The body is not a form');
  }
}

async function addPart(form: FormData, part: BodyPart): Promise<void> {
  const { name, filename } = part;
  if (name === null) throw new HttpError(400, 'A part of the form has no name');
  if (filename === null) {
    form.append(name, await part.text());
    return;
  }
  const bytes = new Uint8Array(await part.bytes());
  const type = part.headers.get('content-type') ?? 'application/octet-stream';
  form.append(name, new Blob([bytes], { type }), filename);
}
