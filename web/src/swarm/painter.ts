// The swarm: sprites of the top stickers rise over the stage, as many and as large as their share of the window. Runs in a worker
// where there is one for canvases (worker.ts), else on the page. A hidden page draws nothing.

import { Crowd } from "./crowd";
import { bitmapOf, Faces, type Face } from "./faces";
import type { Order, Report, Size } from "./messages";
import type { Share } from "../live/message";

export const MAX_SPRITES = 300;
/** A window's sprites set out spread over this time, so that windows join to a stream. */
const SPREAD_S = 1.9;
/** After a pause sprites go on from where they were. */
const MAX_STEP_S = 0.05;
const REPORT_EVERY_MS = 500;
const MOST_PER_WINDOW = 120;
const BURST_SIZE = 44;
const BURST_SPRITES = 3;
const FILLERS = ["🔥", "👏", "😂", "🥊", "😱", "🏆", "💚", "🎉", "💪", "🇮🇪"];

export type Context = CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D;

export class Painter {
  private readonly crowd = new Crowd<Face>(MAX_SPRITES);
  private readonly faces = new Faces();
  private size: Size = { width: 1, height: 1, scale: 1 };
  private latest: { top: Share[]; total: number } | undefined;
  private hidden = false;
  private still = false;
  private fill = 0;
  private frame = 0;
  private last = 0;
  private readonly measured = { since: 0, frames: 0, ms: 0, worst: 0 };

  constructor(
    private readonly canvas: HTMLCanvasElement | OffscreenCanvas,
    private readonly context: Context,
    private readonly report: (report: Report) => void,
  ) {}

  order(order: Order): void {
    switch (order.kind) {
      case "resize":
        return this.resize(order.size);
      case "show":
        return this.show(order.top, order.total);
      case "burst":
        return this.burst(order.reaction);
      case "hidden":
        this.hidden = order.hidden;
        return this.restart();
      case "still":
        this.still = order.still;
        return this.restart();
      case "fill":
        this.fill = Math.min(order.sprites, MAX_SPRITES);
        return this.start();
    }
  }

  private show(top: Share[], total: number): void {
    this.latest = { top, total };
    if (this.hidden) return;
    if (this.still) return this.drawStill();
    const crowd = crowdSize(total) * this.roominess();
    for (const share of top) {
      const count = Math.max(1, Math.round(crowd * share.share));
      for (let index = 0; index < count; index++) this.add(share.reaction, sizeOf(share.share), (index / count) * SPREAD_S);
    }
    this.start();
  }

  private burst(reaction: string): void {
    if (this.hidden || this.still) return;
    for (let index = 0; index < BURST_SPRITES; index++) this.add(reaction, BURST_SIZE, index * 0.06, 0.5);
    this.start();
  }

  private add(reaction: string, size: number, wait: number, x?: number): void {
    const own = size * this.roominess() * (0.75 + Math.random() * 0.5);
    this.crowd.add(this.faces.of(reaction, own, this.size.scale), wait, x);
  }

  /** 1 on a large stage, less on a phone's. */
  private roominess(): number {
    return Math.max(0.55, Math.min(1, Math.sqrt(this.size.width * this.size.height) / 620));
  }

  private resize(size: Size): void {
    this.size = size;
    this.canvas.width = Math.max(1, Math.round(size.width * size.scale));
    this.canvas.height = Math.max(1, Math.round(size.height * size.scale));
    if (this.still) this.drawStill();
  }

  private restart(): void {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    this.crowd.clear();
    this.clear();
    this.tell(0, performance.now());
    if (this.latest) this.show(this.latest.top, this.latest.total);
  }

  private start(): void {
    if (this.frame || this.hidden || this.still || (this.crowd.count === 0 && this.fill === 0)) return;
    this.last = performance.now();
    this.measured.since = this.last;
    this.frame = requestAnimationFrame(this.step);
  }

  private readonly step = (now: number): void => {
    const began = performance.now();
    this.crowd.advance(Math.max(0, Math.min(MAX_STEP_S, (now - this.last) / 1_000)));
    this.last = now;
    while (this.crowd.count < this.fill) this.addFiller();
    this.clear();
    for (let at = 0; at < this.crowd.count; at++) if (!this.crowd.isWaiting(at)) this.draw(at);
    this.measure(began);
    this.frame = this.crowd.count > 0 ? requestAnimationFrame(this.step) : 0;
    if (!this.frame) this.tell(0, performance.now());
  };

  private addFiller(): void {
    const number = this.crowd.count % FILLERS.length;
    this.add(FILLERS[number] ?? "🔥", 30 + 5 * number, Math.random() * SPREAD_S);
  }

  private draw(at: number): void {
    const { crowd, context, size } = this;
    const face = crowd.looks[at];
    if (!face) return;
    const [x, y] = [crowd.left(at) * size.width * size.scale, crowd.top(at) * size.height * size.scale];
    const [growth, bitmap] = [crowd.growth(at), bitmapOf(face, crowd.turn(at))];
    context.globalAlpha = crowd.opacity(at);
    if (growth < 1) {
      const edge = face.edge * growth;
      context.drawImage(bitmap, x - edge / 2, y - edge / 2, edge, edge);
    } else {
      // Whole pixels: copied, not resampled.
      context.drawImage(bitmap, Math.round(x - face.edge / 2), Math.round(y - face.edge / 2));
    }
  }

  /** The same crowd without motion: in a row, largest first. */
  private drawStill(): void {
    this.clear();
    const { width, height, scale } = this.size;
    const top = this.latest?.top ?? [];
    const step = width / (top.length + 1);
    this.context.globalAlpha = 1;
    top.forEach((share, index) => {
      const face = this.faces.of(share.reaction, Math.min(step * 0.9, sizeOf(share.share) * this.roominess()), scale);
      const [x, y] = [step * (index + 1) * scale - face.edge / 2, height * 0.9 * scale - face.edge / 2];
      this.context.drawImage(bitmapOf(face, 0), Math.round(x), Math.round(y));
    });
    this.tell(top.length, performance.now());
  }

  private clear(): void {
    this.context.clearRect(0, 0, this.canvas.width, this.canvas.height);
  }

  private measure(began: number): void {
    const now = performance.now();
    const { measured } = this;
    measured.frames++;
    measured.ms += now - began;
    measured.worst = Math.max(measured.worst, now - began);
    if (now - measured.since >= REPORT_EVERY_MS) this.tell(this.crowd.count, now);
  }

  private tell(sprites: number, now: number): void {
    const { since, frames, ms, worst } = this.measured;
    const seconds = (now - since) / 1_000;
    const framesPerSecond = seconds > 0 ? frames / seconds : 0;
    this.report({ sprites, framesPerSecond, frameMs: frames > 0 ? ms / frames : 0, worstFrameMs: worst });
    Object.assign(this.measured, { since: now, frames: 0, ms: 0, worst: 0 });
  }
}

/** How many sprites a window of `total` events sets out: more with the crowd, but ever more slowly. */
function crowdSize(total: number): number {
  return Math.min(MOST_PER_WINDOW, Math.round(6 + 12 * Math.log2(1 + total)));
}

function sizeOf(share: number): number {
  return 30 + 64 * Math.sqrt(Math.max(0, Math.min(1, share)));
}
