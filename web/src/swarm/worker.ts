// The painter beside the page: taps, lists and typing never wait for a frame, nor a frame for them.

import type { Order, Report } from "./messages";
import { Painter } from "./painter";

let painter: Painter | undefined;

self.onmessage = (event: MessageEvent<{ canvas: OffscreenCanvas } | Order>): void => {
  const { data } = event;
  if (!("canvas" in data)) return painter?.order(data);
  const context = data.canvas.getContext("2d");
  if (context) painter = new Painter(data.canvas, context, (report: Report) => self.postMessage(report));
};
