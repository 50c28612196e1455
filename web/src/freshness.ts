// How old what is seen is. A crowd that is silent and a connection that is gone look alike on the stage; here they do not.

import type { Arrival } from "./live/message";
import type { LinkState } from "./live/link";
import type { ServerClock } from "./clock";
import { mark, say } from "./dom";
import { duration } from "./words";

const FRESH_MS = 6_000;
const DAY_MS = 24 * 60 * 60 * 1_000;
const LOOK_EVERY_MS = 1_000;

export class Freshness {
  /** When the newest state came to be, by the server's clock. */
  private born: number | undefined;
  private state: LinkState = "connecting";

  constructor(
    private readonly note: HTMLElement,
    private readonly stage: HTMLElement,
    private readonly clock: ServerClock,
  ) {
    window.setInterval(() => this.show(), LOOK_EVERY_MS);
  }

  arrived(arrival: Arrival): void {
    this.born = bornAt(arrival, this.clock.ms());
    this.show();
  }

  changed(state: LinkState): void {
    this.state = state;
    this.show();
  }

  private show(): void {
    const age = this.born === undefined ? undefined : Math.max(0, this.clock.ms() - this.born);
    const isLive = this.state === "live";
    mark(this.stage, "freshness", !isLive ? "stale" : age === undefined || age > FRESH_MS ? "quiet" : "fresh");
    say(this.note, words(age, isLive));
  }
}

/** The main node says when; else the window does, if it is of today; else it is as old as its arrival. */
function bornAt({ mood, origin, retained }: Arrival, now: number): number | undefined {
  if (origin.timeMs !== undefined) return origin.timeMs;
  if (Math.abs(now - mood.window_end) < DAY_MS) return Math.min(now, mood.window_end);
  return retained ? undefined : now;
}

function words(age: number | undefined, isLive: boolean): string {
  if (age === undefined) return isLive ? "waiting for the crowd" : "not connected";
  if (isLive && age <= FRESH_MS) return "now";
  const old = age < 1_000 ? "just now" : `${duration(Math.floor(age / 1_000) * 1_000).replace(".0", "")} ago`;
  return isLive ? `last cheer ${old}` : `not live: as it was ${old}`;
}
