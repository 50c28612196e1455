// The small panel: three numbers of the server.

import { say } from "./dom";
import type { Server } from "./server";
import { amount, duration } from "./words";

export function showPanel(server: Server, eventsPerSecond: HTMLElement, windowLag: HTMLElement, viewers: HTMLElement): void {
  server.watch((status) => {
    say(eventsPerSecond, amount(status?.events_per_second));
    say(windowLag, duration(status?.window_lag_ms));
    say(viewers, amount(status?.viewers));
  });
}
