// What the server says of itself. One question at a time, rarely while only the small panel looks, more often for the pipeline's
// picture, never for a hidden page; a crowd's questions are spread by a random part.

import { ServerClock } from "./clock";

export interface Partition {
  high_watermark: number;
  lag: number;
  idle: boolean;
}

export interface Aggregate {
  name: string;
  state: string;
  error: string | null;
  partitions: Partition[];
  lag: number;
  open_window_count: number;
  closed_until: number | null;
  counted: number;
  late: number;
  bad: number;
}

export interface Status {
  now_ms?: number;
  events_per_second: number;
  viewers: number;
  window_lag_ms: number | null;
  aggregates?: Aggregate[];
  mqtt?: { connected_clients: number; messages_published: number; lag: number } | null;
  http?: { streams: Record<string, { accepted_total: number; buffer: { events: number; max_events: number } }> };
}

type Listener = (status: Status | undefined) => void;

const EVERY_MS = 3_000;
const OFTEN_MS = 1_000;
const TIMEOUT_MS = 3_000;

export class Server {
  readonly clock = new ServerClock();
  private readonly listeners: Listener[] = [];
  private timer: number | undefined;
  private often = false;

  constructor() {
    document.addEventListener("visibilitychange", () => this.look());
    void this.ask();
  }

  watch(listener: Listener): void {
    this.listeners.push(listener);
  }

  /** The pipeline's picture is looked at, or no more. */
  lookOften(often: boolean): void {
    this.often = often;
    this.look();
  }

  private look(): void {
    if (document.hidden || this.timer === undefined) return;
    window.clearTimeout(this.timer);
    this.timer = undefined;
    void this.ask();
  }

  private async ask(): Promise<void> {
    const sent = Date.now();
    const status = await getJson<Status>("v1/status");
    this.clock.learn(status?.now_ms, sent, Date.now());
    for (const listener of this.listeners) listener(status);
    const wait = this.often ? OFTEN_MS : EVERY_MS * (0.75 + Math.random() / 2);
    const again = (): void => {
      this.timer = undefined;
      if (document.hidden) this.timer = window.setTimeout(again, wait);
      else void this.ask();
    };
    this.timer = window.setTimeout(again, wait);
  }
}

/** None: no answer, or none that is JSON. */
export async function getJson<T>(address: string): Promise<T | undefined> {
  const text = await getText(address);
  try {
    return text === undefined ? undefined : (JSON.parse(text) as T);
  } catch {
    return undefined;
  }
}

export async function getText(address: string): Promise<string | undefined> {
  try {
    const response = await fetch(address, { signal: AbortSignal.timeout(TIMEOUT_MS) });
    return response.ok ? await response.text() : undefined;
  } catch {
    return undefined;
  }
}
