// The crowd's messages: MQTT over WebSocket, one topic per channel, reconnecting by itself.

import mqtt from "mqtt";
import { uuid } from "./taps";

export interface Share {
  reaction: string;
  count: number;
  share: number;
}

export interface Mood {
  window_start: number;
  window_end: number;
  total: number;
  groups: number;
  top: Share[];
}

export type ConnectionState = "connecting" | "live" | "offline";

const RECONNECT_MS = 1_000;
const CONNECT_TIMEOUT_MS = 5_000;
const KEEP_ALIVE_S = 20;

export function follow(
  stream: string,
  channel: string,
  onMood: (mood: Mood, retained: boolean) => void,
  onState: (state: ConnectionState) => void,
): void {
  const topic = `streams/${topicLevel(stream)}/${topicLevel(channel)}`;
  const client = mqtt.connect(socketUrl(), {
    protocolVersion: 4,
    clientId: `web-${uuid()}`,
    clean: true,
    keepalive: KEEP_ALIVE_S,
    reconnectPeriod: RECONNECT_MS,
    connectTimeout: CONNECT_TIMEOUT_MS,
    resubscribe: false,
  });
  client.on("connect", () => {
    client.subscribe(topic, { qos: 0 }, (error) => onState(error ? "offline" : "live"));
  });
  client.on("reconnect", () => onState("connecting"));
  client.on("close", () => onState("offline"));
  client.on("error", () => onState("offline"));
  client.on("message", (_topic, payload, packet) => {
    const mood = parse(payload.toString());
    if (mood) onMood(mood, packet.retain);
  });
  // A phone that wakes up does not wait for the keep-alive to notice.
  window.addEventListener("online", () => client.reconnect());
}

function socketUrl(): string {
  const url = new URL("mqtt", document.baseURI);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  url.search = "";
  url.hash = "";
  return url.href;
}

/** A name as one topic level, as the gateway writes it. */
export function topicLevel(name: string): string {
  return name.replace(/[/+#%\u0000-\u001f\u007f-\u009f]/g, (character) =>
    Array.from(new TextEncoder().encode(character), (byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`).join(""),
  );
}

function parse(text: string): Mood | undefined {
  try {
    const mood = JSON.parse(text) as Mood;
    return Array.isArray(mood.top) && Number.isFinite(mood.window_start) ? mood : undefined;
  } catch {
    return undefined;
  }
}
