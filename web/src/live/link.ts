// The connection to the crowd: MQTT 5 over WebSocket (3.1.1 where the server knows no better), kept up by itself.
//
// One client of mqtt.js at a time, which never reconnects on its own: this file decides when and where. A lost connection is tried
// again after a back-off with jitter, so that a crowd does not come back as one; a server that drains says where to go (Server
// Moved), and we go there, or home if nobody answers there. Whatever comes in late from a client that was given up is not heard.

import type { IConnackPacket, IDisconnectPacket, IPublishPacket, MqttClient, Packet } from "mqtt";
import { uuid } from "../taps";
import { BackOff } from "./back_off";
import { originOf, parseMood, type Arrival } from "./message";
import { webSocketOf } from "./reference";

export type LinkState = "connecting" | "live" | "moving" | "offline";
type Version = 4 | 5;

export interface Handlers {
  arrived(topic: string, arrival: Arrival): void;
  changed(state: LinkState): void;
}

const CONNECT_TIMEOUT_MS = 4_000;
const KEEP_ALIVE_S = 15;
/** A crowd that is told to move does not arrive in one moment. */
const MOVE_WITHIN_MS = 600;
const MAX_TRIES_AWAY = 2;
/** A connection that lasted so long was a good one. */
const STEADY_MS = 5_000;
const USE_ANOTHER_SERVER = 0x9c;
const SERVER_MOVED = 0x9d;
const UNSUPPORTED_VERSION_5 = 0x84;
const UNSUPPORTED_VERSION_3 = 1;
const REFUSED = 0x80;

export class Link {
  state: LinkState = "connecting";
  version: Version = 5;
  /** Attempts that got through. */
  connections = 0;
  private client: MqttClient | undefined;
  private readonly backOff = new BackOff();
  private readonly clientId = `web-${uuid()}`;
  private timer: number | undefined;
  private away: { url: string; tries: number } | undefined;
  private moveTo: string | undefined;
  private versionRefused = false;
  private liveSince = 0;

  constructor(
    private readonly topics: string[],
    private readonly handlers: Handlers,
    private readonly home = homeUrl(),
  ) {
    void this.connect();
    // A phone that wakes up, or finds its network again, waits for no back-off.
    window.addEventListener("online", () => this.hurry(true));
    document.addEventListener("visibilitychange", () => this.hurry(false));
  }

  /** Where we are connected, or want to be. */
  get url(): string {
    return this.away?.url ?? this.home;
  }

  /** One more topic; from now on in every connection. */
  follow(topic: string): void {
    if (this.topics.includes(topic)) return;
    this.topics.push(topic);
    if (this.state === "live") this.subscribe([topic]);
  }

  private async connect(): Promise<void> {
    this.timer = undefined;
    this.drop();
    const { default: mqtt } = await import("mqtt");
    const client = mqtt.connect(this.url, {
      protocolVersion: this.version,
      clientId: this.clientId,
      clean: true,
      keepalive: KEEP_ALIVE_S,
      reconnectPeriod: 0,
      connectTimeout: CONNECT_TIMEOUT_MS,
      resubscribe: false,
    });
    this.client = client;
    const ours = <A extends unknown[]>(act: (...args: A) => void) => (...args: A): void => {
      if (this.client === client) act(...args);
    };
    client.on("connect", ours(() => this.subscribe(this.topics)));
    client.on("message", ours((topic: string, payload: Uint8Array, packet: IPublishPacket) => this.hear(topic, payload, packet)));
    client.on("packetreceive", ours((packet: Packet) => this.listen(packet)));
    client.on("close", ours(() => this.lost()));
    // What is wrong shows in `packetreceive` and `close`; without a listener it would be thrown.
    client.on("error", () => client.end(true));
  }

  private subscribe(topics: string[]): void {
    const { client } = this;
    client?.subscribe(topics, { qos: 0 }, (error, granted) => {
      if (this.client !== client) return;
      if (error || granted?.some((one) => one.qos >= REFUSED && one.topic === this.topics[0])) return void client?.end(true);
      if (this.state === "live") return;
      this.connections++;
      this.liveSince = performance.now();
      this.become("live");
    });
  }

  private hear(topic: string, payload: Uint8Array, packet: IPublishPacket): void {
    const mood = parseMood(new TextDecoder().decode(payload));
    if (!mood) return;
    const origin = originOf(packet.properties?.userProperties as Record<string, string | string[]> | undefined);
    this.handlers.arrived(topic, { mood, origin, retained: packet.retain });
  }

  /** Packets that say where else to go, or in which words. */
  private listen(packet: Packet): void {
    if (packet.cmd === "connack") return this.answered(packet);
    if (packet.cmd === "disconnect") this.moved(packet, packet.reasonCode);
  }

  private answered(packet: IConnackPacket): void {
    const code = packet.reasonCode || packet.returnCode;
    this.versionRefused = this.version === 5 && (code === UNSUPPORTED_VERSION_5 || code === UNSUPPORTED_VERSION_3);
    this.moved(packet, code);
  }

  private moved(packet: IConnackPacket | IDisconnectPacket, code: number | undefined): void {
    if (code !== SERVER_MOVED && code !== USE_ANOTHER_SERVER) return;
    // Without a word where to, we come back: what is in front of the nodes knows a better one.
    this.moveTo = webSocketOf(packet.properties?.serverReference, this.home) ?? this.home;
    this.client?.end(true);
  }

  private lost(): void {
    this.drop();
    const wait = this.nextAttempt();
    window.clearTimeout(this.timer);
    this.timer = window.setTimeout(() => void this.connect(), wait);
  }

  /** Where, in which version and when the next attempt is made. */
  private nextAttempt(): number {
    if (performance.now() - this.liveSince > STEADY_MS && this.state === "live") this.backOff.reset();
    if (this.versionRefused) {
      this.versionRefused = false;
      this.version = 4;
      return 0;
    }
    if (this.moveTo !== undefined) return this.move(this.moveTo);
    if (this.away && ++this.away.tries >= MAX_TRIES_AWAY) this.away = undefined;
    // A server that was started anew may know more.
    if (this.state === "live") this.version = 5;
    this.become("offline");
    return this.backOff.next();
  }

  private move(to: string): number {
    this.moveTo = undefined;
    this.away = to === this.home ? undefined : { url: to, tries: 0 };
    this.become("moving");
    return Math.random() * MOVE_WITHIN_MS;
  }

  private hurry(evenIfLive: boolean): void {
    if (document.hidden || (this.state === "live" && !evenIfLive)) return;
    this.backOff.reset();
    window.clearTimeout(this.timer);
    this.become("connecting");
    void this.connect();
  }

  private drop(): void {
    const { client } = this;
    this.client = undefined;
    client?.end(true);
  }

  private become(state: LinkState): void {
    this.state = state;
    this.handlers.changed(state);
  }
}

function homeUrl(): string {
  const url = new URL("mqtt", document.baseURI);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  url.search = "";
  url.hash = "";
  return url.href;
}
