/** Where planes are on the screen, and how voxels lie there. */

import { ACROSS, type Plane, type Voxel, type VoxelGrid, WITHIN } from "./grid";

/** A line: the voxel's place is `from + per * pixel`. */
interface Run {
  from: number;
  per: number;
}

/** A plane as it is on the screen now, in CSS pixels of the canvas. */
export interface Tile {
  plane: Plane;
  /** The slice that is shown. */
  slice: number;
  left: number;
  top: number;
  width: number;
  height: number;
  /** Voxels along the screen's width, and along its height. */
  across: Run;
  down: Run;
}

/** The tile at a place of the screen; none in the 3-D view or beside the images. */
export function tileAt(tiles: Tile[], x: number, y: number): Tile | undefined {
  return tiles.find(
    (tile) =>
      x >= tile.left &&
      y >= tile.top &&
      x < tile.left + tile.width &&
      y < tile.top + tile.height,
  );
}

/** The place, in voxels, that is shown at a place of the screen. */
export function placeAt(tile: Tile, x: number, y: number): Voxel {
  const [a, b] = WITHIN[tile.plane];
  const place: Voxel = [0, 0, 0];
  place[ACROSS[tile.plane]] = tile.slice;
  place[a] = tile.across.from + tile.across.per * x;
  place[b] = tile.down.from + tile.down.per * y;
  return place;
}

/** Where a place, in voxels, is on the screen if it is seen through the other slices. */
export function screenOf(tile: Tile, place: Voxel): [number, number] {
  const [a, b] = WITHIN[tile.plane];
  return [
    (place[a] - tile.across.from) / tile.across.per,
    (place[b] - tile.down.from) / tile.down.per,
  ];
}

/** How many pixels a millimetre has, along the width and along the height. */
export function pixelsPerMm(tile: Tile, { spacing }: VoxelGrid): [number, number] {
  const [a, b] = WITHIN[tile.plane];
  return [
    1 / Math.abs(tile.across.per * spacing[a]),
    1 / Math.abs(tile.down.per * spacing[b]),
  ];
}
