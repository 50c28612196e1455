// What comes from the crowd: docs/mqtt.md says what the fields mean.

export interface Share {
  reaction: string;
  count: number;
  share: number;
}

/** A channel's mood, or a poll's result, in one window. */
export interface Mood {
  window_start: number;
  window_end: number;
  total: number;
  groups: number;
  top: Share[];
  /** False: the window is still open, and this is how it stands. */
  final?: boolean;
  /** Counts corrections of a window that was told before. */
  rev?: number;
  /** Grows with each message of the channel. */
  sequence?: number;
}

/** Where a message began: the main node's clock and count. Only MQTT 5 carries it. */
export interface Origin {
  timeMs?: number;
  sequence?: number;
  path?: string;
}

export interface Arrival {
  mood: Mood;
  origin: Origin;
  /** It was there before we came. */
  retained: boolean;
}

export function parseMood(text: string): Mood | undefined {
  try {
    const mood = JSON.parse(text) as Mood;
    const isMood = Array.isArray(mood.top) && Number.isFinite(mood.window_start) && Number.isFinite(mood.window_end);
    return isMood ? mood : undefined;
  } catch {
    return undefined;
  }
}

type Properties = Record<string, string | string[]>;

export function originOf(properties: Properties | undefined): Origin {
  const text = (name: string): string | undefined => {
    const value = properties?.[name];
    return Array.isArray(value) ? value[0] : value;
  };
  const number = (name: string): number | undefined => {
    const value = Number(text(name) ?? Number.NaN);
    return Number.isFinite(value) ? value : undefined;
  };
  const origin: Origin = {};
  const [timeMs, sequence, path] = [number("tifo-time"), number("tifo-sequence"), text("tifo-path")];
  if (timeMs !== undefined) origin.timeMs = timeMs;
  if (sequence !== undefined) origin.sequence = sequence;
  if (path !== undefined) origin.path = path;
  return origin;
}

/** A name as one topic level, as the gateway writes it. */
export function topicLevel(name: string): string {
  return name.replace(/[/+#%\u0000-\u001f\u007f-\u009f]/g, (character) =>
    Array.from(new TextEncoder().encode(character), (byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`).join(""),
  );
}

export function streamTopic(stream: string, channel: string): string {
  return `streams/${topicLevel(stream)}/${topicLevel(channel)}`;
}
