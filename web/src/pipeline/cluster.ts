// The tree of MQTT nodes below this server, as `GET /v1/mqtt/cluster` tells it; a server that tells none shows none.

import { element, forTheEye, mark, say } from "../dom";
import { getJson } from "../server";
import { amount, count } from "../words";

export interface Node {
  node: string;
  role: string;
  cluster: string;
  address: string;
  connections: number;
  max_connections: number;
  /** Cores. */
  cpu: number;
  queued_bytes: number;
  sent: number;
  dropped: number;
  draining: boolean;
  connected: boolean;
  nodes: Node[];
}

/** What is drawn; a larger tree says how many it leaves out. */
const MAX_SHOWN = 60;
const MAX_DEPTH = 8;

export class Cluster {
  readonly place = element("div", "cluster");
  private readonly list = element("ul", "nodes");
  private readonly more = element("p", "cluster-more");
  private readonly sent = new Map<string, { messages: number; timeMs: number }>();
  private shape = "";

  constructor() {
    this.list.setAttribute("aria-label", "MQTT nodes");
    this.place.append(this.list, this.more);
    this.place.hidden = true;
  }

  async look(): Promise<void> {
    const root = await getJson<Node>("v1/mqtt/cluster");
    this.place.hidden = typeof root?.node !== "string";
    if (root && !this.place.hidden) this.draw(root, performance.now());
  }

  private draw(root: Node, timeMs: number): void {
    const all = flat(root, 0);
    const shown = all.slice(0, MAX_SHOWN);
    const shape = shown.map(({ node, depth }) => `${depth} ${node.node}`).join();
    if (shape !== this.shape) this.list.replaceChildren(...shown.map(({ depth }) => blank(depth)));
    this.shape = shape;
    shown.forEach(({ node }, index) => {
      const item = this.list.children[index];
      if (item instanceof HTMLElement) write(item, node, this.rate(node, timeMs));
    });
    say(this.more, all.length > shown.length ? `and ${count(all.length - shown.length, "more node")}` : "");
    const names = new Set(all.map(({ node }) => node.node));
    for (const name of this.sent.keys()) if (!names.has(name)) this.sent.delete(name);
  }

  private rate(node: Node, timeMs: number): number | undefined {
    const before = this.sent.get(node.node);
    this.sent.set(node.node, { messages: node.sent, timeMs });
    if (!before || timeMs <= before.timeMs) return undefined;
    return Math.max(0, node.sent - before.messages) / ((timeMs - before.timeMs) / 1_000);
  }
}

/** The tree as it is read: each node, then those that follow it. */
export function flat(node: Node, depth: number): { node: Node; depth: number }[] {
  const below = depth < MAX_DEPTH ? (node.nodes ?? []).flatMap((one) => flat(one, depth + 1)) : [];
  return [{ node, depth }, ...below];
}

function blank(depth: number): HTMLLIElement {
  const item = element("li", "node");
  item.style.setProperty("--depth", String(depth));
  const load = forTheEye(element("span", "node-load"));
  load.append(element("i", ""));
  item.append(element("b", "node-name"), element("span", "node-role"), load, element("span", "node-facts"));
  return item;
}

function write(item: HTMLElement, node: Node, perSecond: number | undefined): void {
  const put = (selector: string, text: string): void => {
    const found = item.querySelector(selector);
    if (found) say(found, text);
  };
  put(".node-name", node.node);
  put(".node-role", [node.role, node.cluster, node.address].filter((word) => word).join(" · "));
  put(".node-facts", facts(node, perSecond).join(" · "));
  const load = node.max_connections > 0 ? node.connections / node.max_connections : 0;
  item.querySelector<HTMLElement>(".node-load i")?.style.setProperty("--fill", String(Math.min(1, load)));
  mark(item, "state", node.draining ? "draining" : node.connected ? "connected" : "lost");
}

function facts(node: Node, perSecond: number | undefined): string[] {
  const words = [count(node.connections, "client"), `${amount(perSecond)} messages/s`, `${amount(node.cpu)} cores`];
  if (node.queued_bytes > 0) words.push(`${amount(node.queued_bytes / 1_024)} KiB waiting`);
  if (node.dropped > 0) words.push(`${amount(node.dropped)} superseded`);
  if (node.draining) words.push("draining");
  if (!node.connected) words.push("does not follow");
  return words;
}
