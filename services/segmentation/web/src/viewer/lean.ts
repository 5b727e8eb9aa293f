/**
 * What NiiVue makes again, or never shows here, left out: without a graphics card a large
 * case opened in a minute.
 *
 * Whenever an image changes, NiiVue blurs all of the CT and takes its gradients, by which
 * a 3-D view may be lit. Here that view is not lit. The two passes read every voxel's
 * neighbours and need two more copies of the CT, four bytes a voxel, on the graphics card.
 */

import { type Niivue, NVImage } from "@niivue/niivue";

type Make = Niivue["rgbaTex"];

/** Units of the textures that gradients are computed in: in between, and the result. */
const BETWEEN = WebGL2RenderingContext.TEXTURE8;
const GRADIENTS = WebGL2RenderingContext.TEXTURE6;

/** Have gradients be computed of one column of voxels instead of all. */
export function leaveOutGradients(niivue: Niivue): void {
  const make = niivue.rgbaTex.bind(niivue);
  niivue.rgbaTex = (...[old, unit, dims, isInit]: Parameters<Make>) => {
    const unlit = unit === GRADIENTS || (unit === BETWEEN && old === null);
    return make(old, unit, unlit ? columnOf(dims) : dims, isInit);
  };
}

/** As deep as the image, for the passes go through its slices. */
function columnOf([rank = 3, , , slices = 1]: number[]): number[] {
  return [rank, 1, 1, slices];
}

/** Have no image searched for its darkest and brightest voxels: each has its window. */
export function leaveOutStatistics(): void {
  NVImage.prototype.calMinMax = function (this: NVImage): number[] {
    const [low, high] = [this.cal_min ?? 0, this.cal_max ?? 1];
    this.robust_min = this.global_min = low;
    this.robust_max = this.global_max = high;
    return [low, high, low, high];
  };
}

/** Lay an image over those that are shown, which are not sent to the card again. */
export function layOver(niivue: Niivue, image: NVImage): void {
  const shown = niivue.volumes.length;
  const refresh = niivue.refreshLayers;
  niivue.refreshLayers = (each, layer) => {
    if (layer >= shown) refresh.call(niivue, each, layer);
  };
  try {
    niivue.addVolume(image);
  } finally {
    niivue.refreshLayers = refresh;
  }
}
