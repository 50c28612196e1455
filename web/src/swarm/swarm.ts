// The page's side of the swarm: says what to show and how large the stage is, and hears how it goes.

import type { Share } from "../live/message";
import type { Order, Report } from "./messages";
import { Painter } from "./painter";

const MAX_SCALE = 2;

export class Swarm {
  private readonly order: (order: Order) => void;
  private readonly still = window.matchMedia("(prefers-reduced-motion: reduce)");

  constructor(
    private readonly canvas: HTMLCanvasElement,
    private readonly onReport: (report: Report) => void = () => undefined,
  ) {
    this.order = paintBeside(canvas, this.report) ?? paintHere(canvas, this.report);
    new ResizeObserver(() => this.resize()).observe(canvas);
    this.resize();
    const still = (): void => this.order({ kind: "still", still: this.still.matches });
    const hidden = (): void => this.order({ kind: "hidden", hidden: document.hidden });
    this.still.addEventListener("change", still);
    document.addEventListener("visibilitychange", hidden);
    if (this.still.matches) still();
    if (document.hidden) hidden();
  }

  /** A new window of the crowd. */
  show(top: Share[], total: number): void {
    this.order({ kind: "show", top, total });
  }

  /** One's own sticker, at once, from the middle below. */
  burst(reaction: string): void {
    this.order({ kind: "burst", reaction });
  }

  /** For measuring: keeps so many sprites in the air. */
  fill(sprites: number): void {
    this.order({ kind: "fill", sprites });
  }

  private resize(): void {
    const { width, height } = this.canvas.getBoundingClientRect();
    const scale = Math.min(MAX_SCALE, window.devicePixelRatio || 1);
    this.order({ kind: "resize", size: { width, height, scale } });
  }

  private readonly report = (report: Report): void => {
    this.canvas.dataset["sprites"] = String(report.sprites);
    this.canvas.dataset["fps"] = report.framesPerSecond.toFixed(1);
    this.canvas.dataset["frameMs"] = report.frameMs.toFixed(3);
    this.onReport(report);
  };
}

/** In a worker, where canvases can go there. */
function paintBeside(canvas: HTMLCanvasElement, report: (report: Report) => void): ((order: Order) => void) | undefined {
  if (typeof canvas.transferControlToOffscreen !== "function" || typeof Worker === "undefined") return undefined;
  const worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
  worker.onmessage = (event: MessageEvent<Report>) => report(event.data);
  const offscreen = canvas.transferControlToOffscreen();
  worker.postMessage({ canvas: offscreen }, [offscreen]);
  return (order) => worker.postMessage(order);
}

function paintHere(canvas: HTMLCanvasElement, report: (report: Report) => void): (order: Order) => void {
  const context = canvas.getContext("2d");
  if (!context) throw new Error("no canvas");
  const painter = new Painter(canvas, context, report);
  return (order) => painter.order(order);
}
