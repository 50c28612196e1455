// Taps on their way: gathered for a moment, sent as one request, tried again a little when the server is busy or away.

import type { Sticker } from "./stickers";

export type TapState = "sending" | "sent" | "failed";

export interface Tap {
  id: string;
  sticker: Sticker;
  state: TapState;
  event: Record<string, unknown>;
}

const GATHER_MS = 60;
const MAX_EVENTS_PER_REQUEST = 50;
const MAX_WAITING_TAPS = 200;
const MAX_TRIES = 4;
const FIRST_RETRY_MS = 400;
const MAX_RETRY_MS = 4_000;
const REQUEST_TIMEOUT_MS = 8_000;
const USER_KEY = "tifo-user";

export class TapSender {
  private waiting: Tap[] = [];
  private timer: number | undefined;
  private sending = false;
  private readonly user = userId();

  constructor(
    private readonly url: string,
    private readonly channel: string,
    private readonly changed: (tap: Tap) => void,
  ) {}

  tap(sticker: Sticker): Tap {
    const id = uuid();
    const event = {
      emoji_id: sticker.id,
      user_id: this.user,
      timestamp: new Date().toISOString(),
      emoji_type: "sticker",
      message_id: id,
      recipient_id: this.channel,
      channel_id: this.channel,
      event_id: this.channel,
      metadata: { reaction: sticker.reaction, emotion: sticker.emotion },
    };
    const tap: Tap = { id, sticker, state: "sending", event };
    if (this.waiting.length >= MAX_WAITING_TAPS) {
      tap.state = "failed";
      return tap;
    }
    this.waiting.push(tap);
    this.timer ??= window.setTimeout(() => void this.flush(), GATHER_MS);
    return tap;
  }

  private async flush(): Promise<void> {
    this.timer = undefined;
    if (this.sending) return;
    this.sending = true;
    while (this.waiting.length > 0) {
      const taps = this.waiting.splice(0, MAX_EVENTS_PER_REQUEST);
      const state = (await this.send(taps)) ? "sent" : "failed";
      for (const tap of taps) {
        tap.state = state;
        this.changed(tap);
      }
    }
    this.sending = false;
  }

  private async send(taps: Tap[]): Promise<boolean> {
    const body = JSON.stringify(taps.map((tap) => tap.event));
    for (let attempt = 1; attempt <= MAX_TRIES; attempt++) {
      const wait = await this.post(body);
      if (wait === "taken") return true;
      if (wait === "refused") return false;
      const backoff = Math.min(MAX_RETRY_MS, Math.max(wait, FIRST_RETRY_MS * 2 ** (attempt - 1)));
      if (attempt < MAX_TRIES) await new Promise((resolve) => setTimeout(resolve, backoff));
    }
    return false;
  }

  /** "taken", "refused" (another try would not help) or the milliseconds that the server asks to wait. */
  private async post(body: string): Promise<"taken" | "refused" | number> {
    try {
      const response = await fetch(this.url, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body,
        signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
      });
      if (response.ok) return "taken";
      if (response.status !== 429 && response.status < 500) return "refused";
      const seconds = Number(response.headers.get("retry-after") ?? "0");
      return Number.isFinite(seconds) ? seconds * 1_000 : 0;
    } catch {
      return 0;
    }
  }
}

/** One per browser; a browser that keeps nothing gets one per visit. */
function userId(): string {
  try {
    const known = localStorage.getItem(USER_KEY);
    if (known) return known;
    const fresh = `web-${uuid()}`;
    localStorage.setItem(USER_KEY, fresh);
    return fresh;
  } catch {
    return `web-${uuid()}`;
  }
}

/** randomUUID exists on secure pages only; a stadium's test rig may be plain http on another host. */
export function uuid(): string {
  if (typeof crypto.randomUUID === "function") return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
