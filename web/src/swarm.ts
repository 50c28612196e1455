// The swarm: sprites of the top stickers rise over the stage, as many and as large as their share of the window.
//
// Sprites are drawn once into bitmaps and then only moved. Their number is bounded; a hidden page draws nothing; who asks for
// reduced motion gets the same picture standing still.

import type { Share } from "./live";

interface Sprite {
  image: HTMLCanvasElement;
  x: number;
  y: number;
  size: number;
  rise: number;
  sway: number;
  phase: number;
  spin: number;
  age: number;
  life: number;
  wait: number;
}

const MAX_SPRITES = 300;
const MAX_BITMAPS = 128;
/** A window's sprites set out spread over this time, so that windows join to a stream. */
const SPREAD_S = 1.9;
const MAX_STEP_S = 0.05;
const BITMAP_SIZES = [32, 64, 128] as const;

export class Swarm {
  private readonly context: CanvasRenderingContext2D;
  private sprites: Sprite[] = [];
  private readonly bitmaps = new Map<string, HTMLCanvasElement>();
  private readonly still = window.matchMedia("(prefers-reduced-motion: reduce)");
  private latest: { top: Share[]; total: number } | undefined;
  private frame = 0;
  private last = 0;
  private width = 0;
  private height = 0;
  private scale = 1;

  constructor(private readonly canvas: HTMLCanvasElement) {
    const context = canvas.getContext("2d");
    if (!context) throw new Error("no canvas");
    this.context = context;
    new ResizeObserver(() => this.resize()).observe(canvas);
    document.addEventListener("visibilitychange", () => (document.hidden ? this.stop() : this.start()));
    this.still.addEventListener("change", () => this.restart());
    this.resize();
  }

  /** A new window of the crowd. */
  show(top: Share[], total: number): void {
    this.latest = { top, total };
    if (document.hidden) return;
    if (this.still.matches) {
      this.drawStill();
      return;
    }
    const crowd = crowdSize(total) * this.roominess();
    for (const share of top) {
      const count = Math.max(1, Math.round(crowd * share.share));
      for (let index = 0; index < count; index++) this.spawn(share.reaction, sizeOf(share.share), (index / count) * SPREAD_S);
    }
    this.start();
  }

  /** One's own sticker, at once, from the middle below. */
  burst(reaction: string): void {
    if (document.hidden || this.still.matches) return;
    for (let index = 0; index < 3; index++) this.spawn(reaction, 44, index * 0.06, 0.5);
    this.start();
  }

  private spawn(reaction: string, size: number, wait: number, from?: number): void {
    if (this.sprites.length >= MAX_SPRITES) return;
    const around = from === undefined ? Math.random() : from + (Math.random() - 0.5) * 0.15;
    const own = size * this.roominess() * (0.75 + Math.random() * 0.5);
    this.sprites.push({
      image: this.bitmap(reaction, own),
      x: around,
      y: 0,
      size: own,
      rise: 0.16 + Math.random() * 0.14,
      sway: 0.01 + Math.random() * 0.03,
      phase: Math.random() * Math.PI * 2,
      spin: (Math.random() - 0.5) * 0.6,
      age: 0,
      life: 4 + Math.random() * 2,
      wait: wait + Math.random() * 0.15,
    });
  }

  /** 1 on a large stage, less on a phone's. */
  private roominess(): number {
    return Math.max(0.55, Math.min(1, Math.sqrt(this.width * this.height) / 620));
  }

  private start(): void {
    if (this.frame || document.hidden || this.sprites.length === 0) return;
    this.last = performance.now();
    this.frame = requestAnimationFrame(this.step);
  }

  private stop(): void {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    this.sprites = [];
    this.publishCount();
  }

  private restart(): void {
    this.stop();
    this.context.clearRect(0, 0, this.width, this.height);
    if (this.latest) this.show(this.latest.top, this.latest.total);
  }

  private readonly step = (now: number): void => {
    const seconds = Math.min(MAX_STEP_S, (now - this.last) / 1_000);
    this.last = now;
    this.context.clearRect(0, 0, this.width, this.height);
    this.sprites = this.sprites.filter((sprite) => this.advance(sprite, seconds));
    this.publishCount();
    this.frame = this.sprites.length > 0 ? requestAnimationFrame(this.step) : 0;
  };

  private advance(sprite: Sprite, seconds: number): boolean {
    if (sprite.wait > 0) {
      sprite.wait -= seconds;
      return true;
    }
    sprite.age += seconds;
    const left = 1 - sprite.age / sprite.life;
    if (left <= 0) return false;
    sprite.y += sprite.rise * seconds;
    const x = (sprite.x + Math.sin(sprite.age * 1.7 + sprite.phase) * sprite.sway) * this.width;
    const y = this.height * (1.04 - sprite.y);
    const pop = Math.min(1, sprite.age * 4);
    this.draw(sprite.image, x, y, sprite.size * (0.4 + 0.6 * pop), Math.min(1, left * 2.2), Math.sin(sprite.age + sprite.phase) * sprite.spin);
    return true;
  }

  private draw(image: HTMLCanvasElement, x: number, y: number, size: number, opacity: number, turn: number): void {
    const { context, scale } = this;
    const cosine = Math.cos(turn) * scale;
    const sine = Math.sin(turn) * scale;
    context.globalAlpha = opacity;
    context.setTransform(cosine, sine, -sine, cosine, x * scale, y * scale);
    context.drawImage(image, -size / 2, -size / 2, size, size);
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.globalAlpha = 1;
  }

  /** The same crowd without motion: in rows, largest first. */
  private drawStill(): void {
    this.context.clearRect(0, 0, this.width, this.height);
    const top = this.latest?.top ?? [];
    const step = this.width / (top.length + 1);
    top.forEach((share, index) => {
      const size = Math.min(step * 0.9, sizeOf(share.share) * this.roominess());
      this.draw(this.bitmap(share.reaction, size), step * (index + 1), this.height * 0.9, size, 1, 0);
    });
    this.canvas.dataset["sprites"] = String(top.length);
  }

  private bitmap(reaction: string, size: number): HTMLCanvasElement {
    const wanted = size * this.scale;
    const edge = BITMAP_SIZES.find((candidate) => candidate >= wanted) ?? BITMAP_SIZES[BITMAP_SIZES.length - 1] ?? 128;
    const key = `${edge} ${reaction}`;
    const known = this.bitmaps.get(key);
    if (known) return known;
    if (this.bitmaps.size >= MAX_BITMAPS) this.bitmaps.clear();
    const image = document.createElement("canvas");
    image.width = image.height = edge;
    const context = image.getContext("2d");
    if (context) {
      context.font = `${Math.round(edge * 0.78)}px "Apple Color Emoji","Segoe UI Emoji","Noto Color Emoji",sans-serif`;
      context.textAlign = "center";
      context.textBaseline = "middle";
      context.fillStyle = "#888";
      context.fillText(reaction, edge / 2, edge * 0.54, edge);
    }
    this.bitmaps.set(key, image);
    return image;
  }

  private resize(): void {
    const box = this.canvas.getBoundingClientRect();
    this.scale = Math.min(2, window.devicePixelRatio || 1);
    this.width = box.width;
    this.height = box.height;
    this.canvas.width = Math.round(box.width * this.scale);
    this.canvas.height = Math.round(box.height * this.scale);
    this.context.setTransform(this.scale, 0, 0, this.scale, 0, 0);
    if (this.still.matches) this.drawStill();
  }

  private publishCount(): void {
    this.canvas.dataset["sprites"] = String(this.sprites.length);
  }
}

/** How many sprites a window of `total` events sets out: more with the crowd, but ever more slowly. */
function crowdSize(total: number): number {
  return Math.min(110, Math.round(6 + 12 * Math.log2(1 + total)));
}

function sizeOf(share: number): number {
  return 26 + 58 * Math.sqrt(Math.max(0, Math.min(1, share)));
}
