/** The images and contours on the screen: NiiVue, and what the page asks of it. */

import {
  MULTIPLANAR_TYPE,
  Niivue,
  NVImage,
  SHOW_RENDER,
  SLICE_TYPE,
} from "@niivue/niivue";
import { findCentres } from "./centres";
import { boxOf, Contours } from "./contours";
import {
  ACROSS,
  type Box,
  indexOf,
  nearestVoxel,
  type Plane,
  type Voxel,
  type VoxelGrid,
} from "./grid";
import { layOver, leaveOutGradients, leaveOutStatistics } from "./lean";
import { tilesOf, uploadBox } from "./niivue-grid";
import { type Order, orderOf, toScreen, toStored } from "./orientation";
import type { Shape } from "./outline";
import { prepare, SWIPE } from "./shaders";
import { StillPicture } from "./still";
import { screenOf, type Tile } from "./tiles";
import type { Organ } from "./types";

/** How contours are drawn. */
export type Style = "filled" | "outlines" | "none";

/** Which planes are shown. */
export type View = "all" | "axial" | "coronal" | "sagittal" | "render";

/** How the MR lies over the CT: a share of its opacity, or a place up to which CT is. */
export type Mix = { kind: "blend" | "swipe"; share: number };

/** What lies under the crosshair. */
export interface Reading {
  mm: [number, number, number];
  hu: number;
  label: number;
  voxel: Voxel;
}

const VIEWS: Record<View, SLICE_TYPE> = {
  all: SLICE_TYPE.MULTIPLANAR,
  axial: SLICE_TYPE.AXIAL,
  coronal: SLICE_TYPE.CORONAL,
  sagittal: SLICE_TYPE.SAGITTAL,
  render: SLICE_TYPE.RENDER,
};

/** Opacity of a contour's inside and of its rim; the inside is never quite nothing,
 * because NiiVue draws a rim only around what it draws. */
const STYLES: Record<Style, [number, number]> = {
  filled: [0.35, 1],
  outlines: [0.004, 1],
  none: [0, 0],
};

const BORDER_VOXELS = 1;
const MOST_ZOOM = 12;
/** How wide the crosshair is, and its gap in the middle, while whole slices are shown. */
const CROSSHAIR_MM = 1;
const GAP_MM = 6;
/** Where the crosshair may be within a plane before the plane is moved, as shares. */
const EDGE = 0.08;
const CT = 0;
const MR_MAP = "hanseg-mr";

/** Shows a case on a canvas. */
export class Scene {
  /** Called whenever the crosshair has moved. */
  onReading: (reading: Reading) => void = () => {};
  /** Called when somebody changes the window with the mouse. */
  onWindow: (low: number, high: number) => void = () => {};
  /** Called whenever the screen was drawn. */
  onDrawn: () => void = () => {};

  private closed = false;
  /** The size in which the screen was drawn last. */
  private drawn = "";
  private contours: Contours | undefined;
  private order: Order | undefined;
  private centres = new Map<number, Voxel>();

  private readonly still: StillPicture;

  private constructor(private readonly niivue: Niivue) {
    this.still = new StillPicture(niivue);
  }

  /** Prepare a canvas. */
  static async on(canvas: HTMLCanvasElement): Promise<Scene> {
    const antialias = false; // the 3-D view could not be kept as a picture
    prepare(canvas, antialias);
    const niivue = new Niivue({
      logLevel: "error",
      isRadiologicalConvention: true,
      sagittalNoseLeft: true,
      showAllOrientationMarkers: true,
      fontColor: [0.85, 0.9, 0.95, 1],
      crosshairColor: [0.43, 0.72, 0.92, 0.8],
      crosshairWidth: CROSSHAIR_MM,
      crosshairWidthUnit: "mm",
      crosshairGap: GAP_MM,
      multiplanarLayout: MULTIPLANAR_TYPE.GRID,
      multiplanarShowRender: SHOW_RENDER.ALWAYS,
      tileMargin: 2,
      backColor: [0, 0, 0, 1],
      dragAndDropEnabled: false,
      loadingText: "",
      clipPlaneHotKey: "",
      cycleClipPlaneHotKey: "",
      viewModeHotKey: "",
      maxDrawUndoBitmaps: 1,
    });
    niivue.keyDownListener = () => {}; // the page has keys of its own
    leaveOutStatistics();
    leaveOutGradients(niivue);
    await niivue.attachToCanvas(canvas, antialias);
    niivue.addColormap(MR_MAP, {
      R: [0, 0, 255],
      G: [0, 0, 255],
      B: [0, 0, 255],
      A: [0, 255, 255],
      I: [0, 1, 255],
    });
    const scene = new Scene(niivue);
    scene.drawOnceAFrame();
    niivue.onLocationChange = () => scene.tellReading();
    niivue.onIntensityChange = (volume) => {
      scene.still.noteChange();
      scene.onWindow(Math.round(volume.cal_min ?? 0), Math.round(volume.cal_max ?? 0));
    };
    return scene;
  }

  /** Show the CT; contours and MR are of its grid. */
  async showCt(content: ArrayBuffer, low: number, high: number): Promise<void> {
    const image = await readImage(content, "gray", low, high);
    this.still.noteChange();
    this.niivue.addVolume(image);
  }

  /** Lay the MR over the CT. */
  async showMr(content: ArrayBuffer, mix: Mix): Promise<void> {
    const image = await readImage(content, MR_MAP, 0, 255);
    this.setMix(mix);
    layOver(this.niivue, image);
  }

  /** Show the label map of the contours. */
  async showLabels(content: ArrayBuffer): Promise<void> {
    const labels = await readImage(content, "gray", 0, 255);
    this.still.noteChange();
    if (!this.niivue.loadDrawing(labels)) {
      throw new Error("The contours are not on the CT's grid and are not shown.");
    }
    const [, x = 0, y = 0, z = 0] = labels.hdr?.dims ?? [];
    this.order = orderOf([x, y, z], labels.permRAS ?? [1, 2, 3]);
    this.contours = new Contours(this.bitmap.slice(), this.grid.size);
    this.findCentres();
  }

  /** Show corrected masks, as they are stored, in place of the model's, by label. */
  showCorrections(masks: Map<number, Uint8Array>): void {
    const { contours, order } = this;
    if (!contours || !order) return;
    const turned = [...masks].map(([label, mask]) => [label, toScreen(mask, order)]);
    contours.setCorrected(new Map(turned as [number, Uint8Array][]));
    this.compose();
    this.findCentres();
  }

  /** Where the voxels of all images are. */
  get grid(): VoxelGrid {
    const image = this.niivue.volumes[CT];
    const [, x = 1, y = 1, z = 1] = image?.dimsRAS ?? [];
    const [, dx = 1, dy = 1, dz = 1] = image?.pixDimsRAS ?? [];
    return { size: [x, y, z], spacing: [dx, dy, dz] };
  }

  /** An organ's mask as it is shown. */
  maskOf(label: number): Uint8Array {
    return this.contours?.mask(label) ?? new Uint8Array(this.bitmap.length);
  }

  /** An organ's contour as the model has made it; null if it has made none. */
  ownShape(label: number): Shape | null {
    const mask = this.contours?.ownMask(label);
    const { size } = this.grid;
    const box = mask && boxOf(mask, size);
    return mask && box ? { mask, size, box } : null;
  }

  /**
   * Show an organ as a mask that changes; say where, and then have it drawn.
   *
   * @returns What tells of a voxel that was put in or taken out.
   */
  change(label: number, mask: Uint8Array): (index: number, value: number) => void {
    const { bitmap, contours } = this;
    contours?.change(label, mask);
    this.raise(label, mask);
    return (index, value) => {
      bitmap[index] = value ? label : (contours?.labelAt(index, true) ?? 0);
    };
  }

  /** End that; the mask is shown from now on, or what was shown before. */
  endChange(label: number, kept: Uint8Array | null): void {
    this.contours?.change(label, null);
    if (kept) this.contours?.keep(label, kept);
    this.compose();
    if (kept) this.findCentres();
  }

  /** The organ at a voxel besides the one that changes; 0 for none. */
  otherAt(index: number): number {
    return this.contours?.labelAt(index, true) ?? 0;
  }

  /** A mask in the order in which the CT is stored. */
  stored(mask: Uint8Array): Uint8Array<ArrayBuffer> {
    if (!this.order) throw new Error("There are no contours yet.");
    return toStored(mask, this.order);
  }

  /** Draw changed voxels on the planes; the 3-D view waits for `settle`. */
  redraw(box: Box): void {
    uploadBox(this.niivue, this.bitmap, this.grid.size, box);
    this.niivue.drawScene();
  }

  /** Have the 3-D view show what has changed. */
  settle(): void {
    if (this.closed) return;
    this.still.noteChange();
    this.niivue.drawScene();
  }

  /** Where the planes are on the screen; none until it is drawn in its new size. */
  tiles(): Tile[] {
    return this.drawn === this.sizeOfCanvas() ? tilesOf(this.niivue, this.grid) : [];
  }

  /** Colour the contours, and hide some. */
  colour(organs: Organ[], hidden: ReadonlySet<number>): void {
    const lut = new Uint8ClampedArray(256 * 4);
    for (const organ of organs) {
      lut.set([...organ.colour, hidden.has(organ.label) ? 0 : 255], organ.label * 4);
    }
    const labels = Array.from({ length: 256 }, (_, index) => String(index));
    this.niivue.drawLut = { lut, labels };
    this.still.noteChange();
    this.niivue.refreshColormaps();
    this.niivue.drawScene();
  }

  /** Draw contours filled, as outlines or not at all. */
  setStyle(style: Style): void {
    const [inside, rim] = STYLES[style];
    this.still.noteChange();
    this.niivue.drawOpacity = inside;
    this.niivue.drawRimOpacity = rim;
    this.niivue.drawScene();
  }

  /** Show one plane, or all. */
  setView(view: View): void {
    this.niivue.setSliceType(VIEWS[view]);
  }

  /** Set the window of the CT, in HU. */
  setWindow(low: number, high: number): void {
    const ct = this.niivue.volumes[CT];
    if (!ct || (ct.cal_min === low && ct.cal_max === high)) return;
    ct.cal_min = low;
    ct.cal_max = high;
    this.still.noteChange();
    this.niivue.refreshLayers(ct, CT);
    this.niivue.drawScene();
  }

  /** Mix CT and MR. */
  setMix({ kind, share }: Mix): void {
    this.niivue.overlayAlphaShader = kind === "blend" ? share : SWIPE + 1 - share;
    this.niivue.drawScene();
  }

  /** Show or hide where the MR's scan ends. */
  setBorder(shown: boolean): void {
    this.niivue.overlayOutlineWidth = shown ? BORDER_VOXELS : 0;
    this.niivue.drawScene();
  }

  /** Whether there is a contour to jump to. */
  has(label: number): boolean {
    return this.centres.has(label);
  }

  /** Have all planes go through an organ's centre. */
  goTo(label: number): void {
    const voxel = this.centres.get(label);
    if (!voxel) return;
    this.moveTo(voxel);
    if (this.zoom > 1) this.pan([0, 1, 2]);
  }

  /** The voxel under the crosshair. */
  get crosshair(): Voxel {
    const { size } = this.grid;
    const place = size.map((n, axis) => this.share(axis) * n - 0.5);
    return nearestVoxel(place, size);
  }

  /** Have all planes go through a voxel. */
  moveTo(voxel: Voxel): void {
    this.niivue.scene.crosshairPos = this.niivue.vox2frac(voxel);
    this.keepInView();
    this.niivue.createOnLocationChange();
    this.niivue.drawScene();
  }

  /** Move a plane by slices: to the head, to the front or to the patient's left. */
  step(slices: number, plane: Plane = "axial"): void {
    const voxel = this.crosshair;
    voxel[ACROSS[plane]] += slices;
    this.moveTo(nearestVoxel(voxel, this.grid.size));
  }

  /** How much larger than the whole slice the planes are shown. */
  get zoom(): number {
    return this.niivue.scene.pan2Dxyzmm[3] ?? 1;
  }

  /** Enlarge the planes around the crosshair; 1 shows whole slices. */
  set zoom(wanted: number) {
    const zoom = Math.min(MOST_ZOOM, Math.max(1, wanted));
    const { pan2Dxyzmm: pan } = this.niivue.scene;
    const mm = this.niivue.frac2mm(this.niivue.scene.crosshairPos);
    for (const axis of [0, 1, 2]) {
      const held = (pan[axis] ?? 0) + ((pan[3] ?? 1) - zoom) * (mm[axis] ?? 0);
      pan[axis] = zoom === 1 ? 0 : held;
    }
    pan[3] = zoom;
    this.thinCrosshair(zoom);
    this.keepInView();
    this.niivue.drawScene();
  }

  /** What lies at a place, in mm, RAS. */
  read(mm: [number, number, number]): Reading {
    const volume = this.niivue.volumes[CT];
    const size = this.niivue.back?.dimsRAS;
    if (!volume || !size) return { mm, hu: 0, label: 0, voxel: [0, 0, 0] };
    const [x = 0, y = 0, z = 0] = volume.mm2vox(mm);
    const at = indexOf([x, y, z], this.grid.size);
    const label = this.bitmap[at] ?? 0;
    return { mm, hu: volume.getValue(x, y, z), label, voxel: [x, y, z] };
  }

  /** Go to a place, in mm RAS; where it is then on a plane, in CSS pixels. */
  async onScreen(
    mm: [number, number, number],
    plane: Plane = "axial",
  ): Promise<[number, number] | null> {
    const frac = this.niivue.mm2frac(mm, 0, true);
    this.niivue.scene.crosshairPos = frac;
    this.niivue.drawScene();
    await new Promise(requestAnimationFrame);
    const { size } = this.grid;
    const place = size.map((n, axis) => (frac[axis] ?? 0) * n - 0.5);
    const tile = this.tiles().find((each) => each.plane === plane);
    return tile ? screenOf(tile, place as Voxel) : null;
  }

  /** Give back what the graphics card holds. */
  close(): void {
    this.closed = true;
    this.niivue.cleanup();
    this.niivue.gl.getExtension("WEBGL_lose_context")?.loseContext();
  }

  /** Several changes in a row are drawn together: NiiVue would draw after each. */
  private drawOnceAFrame(): void {
    const draw = this.niivue.drawScene.bind(this.niivue);
    let due = false;
    this.niivue.drawScene = () => {
      if (!due) {
        due = true;
        requestAnimationFrame(() => {
          due = false;
          if (this.closed) return;
          draw();
          this.drawn = this.sizeOfCanvas();
          this.onDrawn();
        });
      }
      return undefined;
    };
  }

  private sizeOfCanvas(): string {
    const { width, height, clientWidth, clientHeight } = this.niivue.gl
      .canvas as HTMLCanvasElement;
    return [width, height, clientWidth, clientHeight].join(" ");
  }

  private get bitmap(): Uint8Array {
    return this.niivue.drawBitmap ?? new Uint8Array(0);
  }

  private compose(): void {
    this.contours?.compose(this.bitmap);
    this.still.noteChange();
    this.niivue.refreshDrawing(true);
  }

  /** Have an organ lie over others that it shares voxels with. */
  private raise(label: number, mask: Uint8Array): void {
    const { bitmap, grid } = this;
    const box = boxOf(mask, grid.size);
    if (!box) return;
    const last = indexOf(box.high, grid.size);
    for (let at = indexOf(box.low, grid.size); at <= last; at++)
      if (mask[at]) bitmap[at] = label;
    this.redraw(box);
  }

  private findCentres(): void {
    this.centres = findCentres({ values: this.bitmap, size: this.grid.size });
  }

  /** Keep the crosshair as thin on the screen; NiiVue makes it anew where it moved. */
  private thinCrosshair(zoom: number): void {
    const { opts, crosshairs3D } = this.niivue;
    opts.crosshairWidth = CROSSHAIR_MM / zoom;
    opts.crosshairGap = GAP_MM / zoom;
    if (crosshairs3D) crosshairs3D.mm = [Number.NaN, 0, 0, 1];
  }

  private share(axis: number): number {
    return this.niivue.scene.crosshairPos[axis] ?? 0;
  }

  /** Move enlarged planes as far as the crosshair has left them. */
  private keepInView(): void {
    const { pan2Dxyzmm: pan, crosshairPos } = this.niivue.scene;
    if (this.zoom === 1) return;
    const mm = this.niivue.frac2mm(crosshairPos);
    const from = this.niivue.frac2mm([0, 0, 0]);
    const to = this.niivue.frac2mm([1, 1, 1]);
    this.pan(
      [0, 1, 2].filter((axis) => {
        const [low, high] = [from[axis] ?? 0, to[axis] ?? 1];
        const shift = (mm[axis] ?? 0) * this.zoom - low + (pan[axis] ?? 0);
        const place = shift / (high - low);
        return place < EDGE || place > 1 - EDGE;
      }),
    );
  }

  /** Have the crosshair in the middle of the planes, in some directions. */
  private pan(axes: number[]): void {
    const { pan2Dxyzmm: pan, crosshairPos } = this.niivue.scene;
    const mm = this.niivue.frac2mm(crosshairPos);
    const middle = this.niivue.frac2mm([0.5, 0.5, 0.5]);
    for (const axis of axes)
      pan[axis] = (middle[axis] ?? 0) - (mm[axis] ?? 0) * this.zoom;
  }

  private tellReading(): void {
    const mm = this.niivue.frac2mm(this.niivue.scene.crosshairPos, 0, true);
    this.onReading(this.read([mm[0] ?? 0, mm[1] ?? 0, mm[2] ?? 0]));
  }
}

async function readImage(
  content: ArrayBuffer,
  colormap: string,
  low: number,
  high: number,
): Promise<NVImage> {
  const image = await NVImage.loadFromUrl({
    url: content,
    name: "image.nii",
    colormap,
    cal_min: low,
    cal_max: high,
    colorbarVisible: false,
  });
  image.cal_min = low;
  image.cal_max = high;
  return image;
}
