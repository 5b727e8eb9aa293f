/** Sending a case: DICOM files are put into an archive here, progress is told. */

import { address, errorOf, tokenHeaders } from "../core/http";
import type { Item } from "./items";

/** What is asked for besides the images. */
export interface CaseRequest {
  case?: string;
  options: { model: string; registration: string };
}

/** Send a case; resolves with the job's id. */
export async function sendCase(
  items: Item[],
  request: CaseRequest,
  onProgress: (share: number) => void,
  signal: AbortSignal,
): Promise<string> {
  const form = new FormData();
  form.append("request", JSON.stringify(request));
  for (const role of ["ct", "mr"] as const) {
    const item = items.find((each) => each.role === role);
    if (item) form.append(role, await contentOf(item), role);
  }
  return post(form, onProgress, signal);
}

async function contentOf(item: Item): Promise<Blob> {
  const [first] = item.files;
  if (!item.dicom || !first) return first ?? new Blob();
  return item.files.length === 1 ? first : archive(item.files);
}

/** Put files into a zip archive, uncompressed: they are sent once and unpacked. */
async function archive(files: File[]): Promise<Blob> {
  const { Zip, ZipPassThrough } = await import("fflate");
  const chunks: BlobPart[] = [];
  const zip = new Zip((error, chunk) => {
    if (error) throw error;
    chunks.push(chunk as Uint8Array<ArrayBuffer>);
  });
  for (const [index, file] of files.entries()) {
    const entry = new ZipPassThrough(`${index}.dcm`);
    zip.add(entry);
    entry.push(new Uint8Array(await file.arrayBuffer()), true);
  }
  zip.end();
  return new Blob(chunks, { type: "application/zip" });
}

function post(
  form: FormData,
  onProgress: (share: number) => void,
  signal: AbortSignal,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest(); // fetch tells no progress of a body
    request.open("POST", address("v1/jobs"));
    for (const [name, value] of Object.entries(tokenHeaders("POST"))) {
      request.setRequestHeader(name, value);
    }
    request.setRequestHeader("Idempotency-Key", newKey());
    request.upload.onprogress = (event) => {
      if (event.lengthComputable) onProgress(event.loaded / event.total);
    };
    request.onload = () => {
      if (request.status === 202) {
        resolve((JSON.parse(request.responseText) as { id: string }).id);
      } else {
        reject(errorOf(request.status, request.responseText));
      }
    };
    request.onerror = () => reject(errorOf(0, '{"detail": "the connection broke"}'));
    request.onabort = () => reject(new DOMException("stopped", "AbortError"));
    signal.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}

function newKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((each) => each.toString(16).padStart(2, "0")).join("");
}
