// Never an older state after a newer one: after a reconnection another node may be behind the one that was left. Pure.

import type { Arrival, Mood } from "./message";

/** So far back in event time is no straggler: the log was begun anew, or an old recording is replayed. */
const ANOTHER_STORY_MS = 60 * 60 * 1_000;

export class Newest {
  private last: Arrival | undefined;

  /** Whether this one is to be shown; then it is the newest. */
  takes(arrival: Arrival): boolean {
    if (this.last && !isNewer(arrival, this.last)) return false;
    this.last = arrival;
    return true;
  }
}

/** By window, then by step of the window, then running before final, then by correction; equals by origin. */
function isNewer(one: Arrival, other: Arrival): boolean {
  const order = compare(keyOf(one.mood), keyOf(other.mood));
  if (order < 0) return beganAnew(one, other);
  return order > 0 || compare(originKey(one), originKey(other)) >= 0;
}

function keyOf(mood: Mood): number[] {
  return [mood.window_start, mood.window_end, mood.final === false ? 0 : 1, mood.rev ?? 0];
}

function originKey(arrival: Arrival): number[] {
  return [arrival.origin.timeMs ?? 0, arrival.origin.sequence ?? arrival.mood.sequence ?? 0];
}

/** The main node said it later, about a time long before. Without its word nobody can tell. */
function beganAnew(one: Arrival, other: Arrival): boolean {
  const later = (one.origin.timeMs ?? 0) > (other.origin.timeMs ?? Number.POSITIVE_INFINITY);
  return later && other.mood.window_end - one.mood.window_end > ANOTHER_STORY_MS;
}

function compare(one: number[], other: number[]): number {
  for (let index = 0; index < one.length; index++) {
    const difference = (one[index] ?? 0) - (other[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
