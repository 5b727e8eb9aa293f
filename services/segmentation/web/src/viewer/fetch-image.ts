/** Images from the service: fetched, unpacked as they come. */

import { send } from "../core/http";

/** Fetch a compressed file and return what is in it. */
export async function fetchUnpacked(
  path: string,
  signal: AbortSignal,
): Promise<ArrayBuffer> {
  const response = await send(path, { signal });
  if (!response.body) return new ArrayBuffer(0);
  const unpacked = response.body.pipeThrough(
    new DecompressionStream("gzip") as ReadableWritablePair<
      Uint8Array<ArrayBuffer>,
      Uint8Array<ArrayBuffer>
    >,
  );
  return new Response(unpacked).arrayBuffer();
}
