// Taps on their way: gathered for a moment, then sent as one request.

import { send } from "./sending";
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

export class TapSender {
  private waiting: Tap[] = [];
  private timer: number | undefined;
  private sending = false;

  constructor(
    private readonly url: string,
    private readonly channel: string,
    private readonly user: string,
    /** The server's time: by a phone's own a tap might be late, or of the future. */
    private readonly now: () => number,
    private readonly changed: (tap: Tap) => void,
  ) {}

  tap(sticker: Sticker): Tap {
    const id = uuid();
    const event = {
      emoji_id: sticker.id,
      user_id: this.user,
      timestamp: new Date(this.now()).toISOString(),
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
      const state = (await send(this.url, taps.map((tap) => tap.event))) ? "sent" : "failed";
      for (const tap of taps) {
        tap.state = state;
        this.changed(tap);
      }
    }
    this.sending = false;
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
