/**
 * The 3-D view, kept as a picture while nothing in it changes.
 *
 * Rays through the whole CT cost more than all planes together, and NiiVue follows them
 * anew for every step through the slices. Here the picture is copied where only the
 * planes have moved, and where images have changed it is made once the planes are shown.
 */

import type { Niivue } from "@niivue/niivue";

type Draw = Niivue["drawImage3D"];
type Box = [number, number, number, number];

/** Copies the 3-D view as long as it stays the same. */
export class StillPicture {
  private changes = 0;
  private shown = "";
  /** What images and place the picture is of, and of which it is to be made next. */
  private of = "";
  private due = "";
  private size = "";
  private readonly frame: WebGLFramebuffer | null;
  private readonly buffer: WebGLRenderbuffer | null;

  /** Take over the drawing; the canvas must not be antialiased, or nothing is copied. */
  constructor(private readonly niivue: Niivue) {
    const { gl } = niivue;
    this.frame = gl.createFramebuffer();
    this.buffer = gl.createRenderbuffer();
    const draw = niivue.drawImage3D.bind(niivue);
    niivue.drawImage3D = (...given: Parameters<Draw>) => this.draw(draw, given);
  }

  /** Say that organs, colours or images look different now. */
  noteChange(): void {
    this.changes += 1;
  }

  private draw(draw: Draw, given: Parameters<Draw>): void {
    const { gl } = this.niivue;
    const viewport = Array.from(gl.getParameter(gl.VIEWPORT) as Int32Array);
    const [matrix, ...angles] = given;
    const of = [this.changes, viewport].join(";");
    const wanted = [of, Array.from(matrix), angles].join(";");
    if (this.niivue.uiData.mouseDepthPicker) {
      draw(...given);
    } else if (wanted === this.shown) {
      this.copy(viewport, "back");
    } else if (of === this.of || of === this.due) {
      draw(...given);
      this.copy(viewport, "out");
      this.shown = wanted;
      this.of = of;
    } else {
      this.postpone(of, viewport);
    }
  }

  /** Show the old picture, if it fits, until the planes are on the screen. */
  private postpone(of: string, viewport: number[]): void {
    const [, , width, height] = viewport;
    if (this.shown && `${width} ${height}` === this.size) this.copy(viewport, "back");
    this.due = of;
    requestAnimationFrame(() => this.niivue.drawScene());
  }

  private copy(viewport: number[], way: "out" | "back"): void {
    const { gl } = this.niivue;
    const [x = 0, y = 0, width = 0, height = 0] = viewport;
    this.makeRoom(width, height);
    const canvas: Box = [x, y, x + width, y + height];
    const kept: Box = [0, 0, width, height];
    gl.bindFramebuffer(gl.READ_FRAMEBUFFER, way === "out" ? null : this.frame);
    gl.bindFramebuffer(gl.DRAW_FRAMEBUFFER, way === "out" ? this.frame : null);
    const [from, to]: [Box, Box] = way === "out" ? [canvas, kept] : [kept, canvas];
    gl.blitFramebuffer(...from, ...to, gl.COLOR_BUFFER_BIT, gl.NEAREST);
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
  }

  private makeRoom(width: number, height: number): void {
    const size = `${width} ${height}`;
    if (size === this.size) return;
    const { gl } = this.niivue;
    gl.bindRenderbuffer(gl.RENDERBUFFER, this.buffer);
    gl.renderbufferStorage(gl.RENDERBUFFER, gl.RGBA8, width, height);
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.frame);
    gl.framebufferRenderbuffer(
      gl.FRAMEBUFFER,
      gl.COLOR_ATTACHMENT0,
      gl.RENDERBUFFER,
      this.buffer,
    );
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    this.size = size;
  }
}
