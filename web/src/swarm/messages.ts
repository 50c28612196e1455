// What page and painter say to each other; the painter may live in a worker.

import type { Share } from "../live/message";

export interface Size {
  width: number;
  height: number;
  /** Device pixels in a CSS pixel. */
  scale: number;
}

export type Order =
  | { kind: "resize"; size: Size }
  | { kind: "show"; top: Share[]; total: number }
  | { kind: "burst"; reaction: string }
  /** Nobody looks: no frames at all. */
  | { kind: "hidden"; hidden: boolean }
  /** Who asks for reduced motion gets the same picture standing still. */
  | { kind: "still"; still: boolean }
  /** For measuring: keeps so many sprites in the air. */
  | { kind: "fill"; sprites: number };

export interface Report {
  sprites: number;
  /** Over the last report's time. */
  framesPerSecond: number;
  /** Script of one frame, mean and worst: drawing commands included, what the browser does with them not. */
  frameMs: number;
  worstFrameMs: number;
}
