/** What of NiiVue is told in voxels: where its planes are, and its label map's texture. */

import type { Niivue } from "@niivue/niivue";
import {
  ACROSS,
  type Box,
  PLANES,
  stridesOf,
  type Voxel,
  type VoxelGrid,
  WITHIN,
} from "./grid";
import type { Tile } from "./tiles";

/** Two places within a plane, as shares of it, between which lines are measured. */
const PROBES = [0.25, 0.75] as const;

type Slice = Niivue["screenSlices"][number];

/** The planes that were drawn last, in CSS pixels. */
export function tilesOf(niivue: Niivue, grid: VoxelGrid): Tile[] {
  return niivue.screenSlices.flatMap((slice, index) => {
    const tile = tileOf(niivue, grid, slice, index);
    return tile ? [tile] : [];
  });
}

function tileOf(
  niivue: Niivue,
  { size }: VoxelGrid,
  slice: Slice,
  index: number,
): Tile | null {
  const plane = PLANES[slice.axCorSag];
  if (!plane || slice.AxyzMxy.length < 4) return null;
  const ratio = niivue.uiData.dpr || 1;
  const [x = 0, y = 0, wide = 0, high = 0] = slice.leftTopWidthHeight;
  const [left, top] = [Math.min(x, x + wide), Math.min(y, y + high)];
  const [width, height] = [Math.abs(wide), Math.abs(high)];
  const [first, second] = PROBES.map((share) => {
    const at = niivue.screenXY2TextureFrac(
      left + share * width,
      top + share * height,
      index,
      false,
    );
    return size.map((n, axis) => (at[axis] ?? 0) * n - 0.5);
  });
  const [a, b] = WITHIN[plane];
  const across = ACROSS[plane];
  const run = (axis: number, start: number, length: number) => {
    const [low, step] = [
      first?.[axis] ?? 0,
      (second?.[axis] ?? 0) - (first?.[axis] ?? 0),
    ];
    const per = step / ((PROBES[1] - PROBES[0]) * (length / ratio));
    return { from: low - per * (start / ratio + (PROBES[0] * length) / ratio), per };
  };
  return {
    plane,
    slice: Math.round(first?.[across] ?? 0),
    left: left / ratio,
    top: top / ratio,
    width: width / ratio,
    height: height / ratio,
    across: run(a, left, width),
    down: run(b, top, height),
  };
}

/** Send a part of the label map to the graphics card. */
export function uploadBox(
  niivue: Niivue,
  values: Uint8Array,
  size: Voxel,
  { low, high }: Box,
): void {
  const { gl } = niivue;
  const [x, y, z] = low;
  const wide = high[0] - x + 1;
  const tall = high[1] - y + 1;
  const deep = high[2] - z + 1;
  const strides = stridesOf(size);
  gl.activeTexture(gl.TEXTURE7);
  gl.bindTexture(gl.TEXTURE_3D, niivue.drawTexture);
  gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
  gl.pixelStorei(gl.UNPACK_ROW_LENGTH, size[0]);
  gl.pixelStorei(gl.UNPACK_IMAGE_HEIGHT, size[1]);
  const from = x * strides[0] + y * strides[1] + z * strides[2];
  const part = values.subarray(from);
  const { RED, UNSIGNED_BYTE, TEXTURE_3D } = gl;
  gl.texSubImage3D(TEXTURE_3D, 0, x, y, z, wide, tall, deep, RED, UNSIGNED_BYTE, part);
  gl.pixelStorei(gl.UNPACK_ROW_LENGTH, 0);
  gl.pixelStorei(gl.UNPACK_IMAGE_HEIGHT, 0);
}
