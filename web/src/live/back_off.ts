// How long to wait before the next attempt: twice as long each time, up to a limit, and never the same for everybody. Pure.

const FIRST_MS = 400;
/** A server that comes back has its viewers back within five seconds. */
const LONGEST_MS = 3_000;

export class BackOff {
  private attempts = 0;

  constructor(private readonly random: () => number = Math.random) {}

  /** Between half of the time and all of it. */
  next(): number {
    const full = Math.min(LONGEST_MS, FIRST_MS * 2 ** this.attempts++);
    return full * (0.5 + this.random() / 2);
  }

  reset(): void {
    this.attempts = 0;
  }
}
