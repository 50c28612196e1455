// Emoji as bitmaps: each is drawn as text once for each size, upright and in a few turns, and from then on only copied. Copying a
// bitmap as it is, to whole pixels, is the cheapest thing a canvas can do, also without a graphics card.

import type { Look } from "./crowd";

export type Bitmap = ImageBitmap | HTMLCanvasElement;

export interface Face extends Look {
  reaction: string;
  /** Edge of the bitmaps in device pixels. */
  edge: number;
  /** By turn, from the left to the right; made when first wanted. */
  turned: (Bitmap | undefined)[];
}

/** Turns either way; with the upright one that makes 2 * TURNS + 1 bitmaps. */
const TURNS = 6;
const MOST_TURN = 0.3;
/** Sizes go in steps, so that few bitmaps serve many sprites. */
const EDGE_STEP = 8;
const MIN_EDGE = 16;
const MAX_EDGE = 192;
const MAX_FACES = 192;
/** The emoji's part of the edge: a turned one must not lose its corners. */
const FILL = 0.74;
const FONTS = '"Apple Color Emoji","Segoe UI Emoji","Noto Color Emoji",sans-serif';

export class Faces {
  private readonly faces = new Map<string, Face>();

  /** `size` in CSS pixels, `scale` device pixels in one of them. */
  of(reaction: string, size: number, scale: number): Face {
    const edge = Math.max(MIN_EDGE, Math.min(MAX_EDGE, Math.round((size * scale) / EDGE_STEP) * EDGE_STEP));
    const key = `${edge} ${reaction}`;
    const known = this.faces.get(key);
    if (known) return known;
    if (this.faces.size >= MAX_FACES) this.forgetOldest();
    const face: Face = { reaction, edge, size: edge / scale, turned: new Array<Bitmap | undefined>(2 * TURNS + 1).fill(undefined) };
    this.faces.set(key, face);
    bitmapOf(face, 0);
    return face;
  }

  /** Sprites that still show it keep it alive. */
  private forgetOldest(): void {
    const [oldest] = this.faces.keys();
    if (oldest !== undefined) this.faces.delete(oldest);
  }
}

/** The bitmap that is nearest to this turn (radians). */
export function bitmapOf(face: Face, turn: number): Bitmap {
  const step = Math.max(-TURNS, Math.min(TURNS, Math.round((turn / MOST_TURN) * TURNS)));
  const known = face.turned[step + TURNS];
  if (known) return known;
  const made = draw(face, (step / TURNS) * MOST_TURN);
  face.turned[step + TURNS] = made;
  return made;
}

function draw(face: Face, turn: number): Bitmap {
  const { edge, reaction } = face;
  const canvas = blank(edge);
  const context = canvas.getContext("2d") as CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D | null;
  if (context) {
    context.translate(edge / 2, edge / 2);
    context.rotate(turn);
    context.font = `${Math.round(edge * FILL)}px ${FONTS}`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.fillStyle = "#888";
    context.fillText(reaction, 0, edge * 0.04, edge);
  }
  return "transferToImageBitmap" in canvas ? canvas.transferToImageBitmap() : canvas;
}

function blank(edge: number): HTMLCanvasElement | OffscreenCanvas {
  if (typeof OffscreenCanvas !== "undefined") return new OffscreenCanvas(edge, edge);
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = edge;
  return canvas;
}
