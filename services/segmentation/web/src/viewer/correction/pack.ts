/** A mask as the service takes it: gzip of one byte a voxel. */

/** Pack a mask, in the order in which the CT is stored. */
export async function pack(mask: Uint8Array<ArrayBuffer>): Promise<Blob> {
  const packed = new Blob([mask])
    .stream()
    .pipeThrough(
      new CompressionStream("gzip") as ReadableWritablePair<
        Uint8Array<ArrayBuffer>,
        Uint8Array<ArrayBuffer>
      >,
    );
  const content = await new Response(packed).arrayBuffer();
  return new Blob([content], { type: "application/gzip" });
}
