// The server's time, as far as a page can know it: a phone's clock may be minutes off. Each answer with the server's time says within
// what bounds the difference lies: it was true after the question was sent, and before the answer came. All of them must hold; the
// clock here is believed as long as it is within them.

const SKEW_MS = 50;

export class ServerClock {
  /** Bounds of the server's time less ours. */
  private least = Number.NEGATIVE_INFINITY;
  private most = Number.POSITIVE_INFINITY;

  constructor(private readonly now: () => number = Date.now) {}

  /** `serverMs` was true at some moment between `sent` and `received`. */
  learn(serverMs: number | undefined, sent: number, received: number): void {
    if (serverMs === undefined || !Number.isFinite(serverMs)) return;
    const [least, most] = [serverMs - received, serverMs - sent];
    const fits = least <= this.most + SKEW_MS && most >= this.least - SKEW_MS;
    // One of the clocks was set: what was known before holds no more.
    this.least = fits ? Math.max(this.least, least) : least;
    this.most = fits ? Math.max(this.least, Math.min(this.most, most)) : most;
  }

  ms(): number {
    return this.now() + Math.max(this.least, Math.min(this.most, 0));
  }
}
