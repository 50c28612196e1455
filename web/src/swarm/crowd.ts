// Where the sprites of the swarm are: flat arrays of fixed length, moved by time. Nothing is allocated while they move; a
// sprite that has had its time gives its place to the last one. Pure: no canvas, no clock.

/** What a sprite shows; the painter knows what that is. */
export interface Look {
  /** Edge in CSS pixels. */
  size: number;
}

const RISE_PER_S = 0.16;
const RISE_MORE_PER_S = 0.14;
const LIFE_S = 4;
const LIFE_MORE_S = 2;
const MOST_WAIT_MORE_S = 0.15;
const POP_S = 0.25;
/** The last part of a life, in which a sprite fades. */
const FADE = 0.45;

export class Crowd<L extends Look> {
  /** Sprites that are there, waiting ones included. */
  count = 0;
  readonly looks: (L | undefined)[];
  private readonly x: Float32Array;
  private readonly rise: Float32Array;
  private readonly sway: Float32Array;
  private readonly phase: Float32Array;
  private readonly spin: Float32Array;
  private readonly life: Float32Array;
  /** Below zero: still waiting for so long. */
  private readonly age: Float32Array;

  constructor(
    readonly capacity: number,
    private readonly random: () => number = Math.random,
  ) {
    this.looks = new Array<L | undefined>(capacity).fill(undefined);
    const numbers = (): Float32Array => new Float32Array(capacity);
    [this.x, this.rise, this.sway, this.phase, this.spin, this.life, this.age] = [
      numbers(), numbers(), numbers(), numbers(), numbers(), numbers(), numbers(),
    ];
  }

  /** False: there is no room. `x` in 0..1; without it anywhere. */
  add(look: L, waitSeconds: number, x?: number): boolean {
    if (this.count >= this.capacity) return false;
    const at = this.count++;
    const { random } = this;
    this.looks[at] = look;
    this.x[at] = x === undefined ? random() : x + (random() - 0.5) * 0.15;
    this.rise[at] = RISE_PER_S + random() * RISE_MORE_PER_S;
    this.sway[at] = 0.01 + random() * 0.03;
    this.phase[at] = random() * Math.PI * 2;
    this.spin[at] = (random() - 0.5) * 0.6;
    this.life[at] = LIFE_S + random() * LIFE_MORE_S;
    this.age[at] = -(waitSeconds + random() * MOST_WAIT_MORE_S);
    return true;
  }

  clear(): void {
    this.looks.fill(undefined);
    this.count = 0;
  }

  advance(seconds: number): void {
    for (let at = this.count - 1; at >= 0; at--) {
      this.age[at] = this.ageOf(at) + seconds;
      if (this.ageOf(at) >= (this.life[at] ?? 0)) this.remove(at);
    }
  }

  isWaiting(at: number): boolean {
    return this.ageOf(at) < 0;
  }

  /** Middle of the sprite, from the left: 0..1, a little beyond while it sways. */
  left(at: number): number {
    return (this.x[at] ?? 0) + Math.sin(this.ageOf(at) * 1.7 + (this.phase[at] ?? 0)) * (this.sway[at] ?? 0);
  }

  /** Middle of the sprite, from above: it begins below the lower edge. */
  top(at: number): number {
    return 1.04 - (this.rise[at] ?? 0) * this.ageOf(at);
  }

  /** In radians. */
  turn(at: number): number {
    return Math.sin(this.ageOf(at) + (this.phase[at] ?? 0)) * (this.spin[at] ?? 0);
  }

  /** It pops up: part of its full size. */
  growth(at: number): number {
    return 0.4 + 0.6 * Math.min(1, this.ageOf(at) / POP_S);
  }

  opacity(at: number): number {
    const left = 1 - this.ageOf(at) / (this.life[at] ?? 1);
    return Math.max(0, Math.min(1, left / FADE));
  }

  private ageOf(at: number): number {
    return this.age[at] ?? 0;
  }

  private remove(at: number): void {
    const last = --this.count;
    this.looks[at] = this.looks[last];
    this.looks[last] = undefined;
    for (const numbers of [this.x, this.rise, this.sway, this.phase, this.spin, this.life, this.age]) {
      numbers[at] = numbers[last] ?? 0;
    }
  }
}
