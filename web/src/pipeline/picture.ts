// The pipeline as a picture: places in the order of the flow, and between two places what flows and how long it takes. It is a list,
// so that it reads well without eyes too. Elements are made once for each shape and then only rewritten.

import { element, forTheEye, mark, say } from "../dom";

export interface Place {
  icon: string;
  title: string;
  /** The large number, with its unit. */
  figure: string;
  unit: string;
  facts: string[];
  /** The way from here to the next place; none after the last. */
  hop?: { time: string; what: string; flows: boolean };
  trouble?: boolean;
}

export class Picture {
  readonly list = element("ol", "pipe");
  private shape = "";

  constructor(label: string) {
    this.list.setAttribute("aria-label", label);
  }

  draw(places: Place[]): void {
    const shape = places.map((place) => `${place.icon}${place.hop ? ">" : ""}`).join();
    if (shape !== this.shape) {
      this.list.replaceChildren(...places.map(blank));
      this.shape = shape;
    }
    places.forEach((place, index) => {
      const item = this.list.children[index];
      if (item) write(item, place);
    });
  }
}

function blank(place: Place): HTMLLIElement {
  const item = element("li", "pipe-step");
  const card = element("div", "pipe-place");
  const figure = element("p", "pipe-figure");
  figure.append(element("b", "pipe-number"), element("span", "pipe-unit"));
  card.append(forTheEye(element("span", "pipe-icon", place.icon)), element("h4", "pipe-title"), figure, element("p", "pipe-facts"));
  item.append(card);
  if (place.hop) {
    const hop = element("p", "pipe-hop");
    hop.append(element("b", "pipe-time"), forTheEye(element("i", "pipe-line")), element("span", "pipe-what"));
    item.append(hop);
  }
  return item;
}

function write(item: Element, place: Place): void {
  const put = (selector: string, text: string): void => {
    const found = item.querySelector(selector);
    if (found) say(found, text);
  };
  put(".pipe-title", place.title);
  put(".pipe-number", place.figure);
  put(".pipe-unit", ` ${place.unit}`);
  put(".pipe-facts", place.facts.join(" · "));
  put(".pipe-time", place.hop?.time ?? "");
  put(".pipe-what", place.hop?.what ?? "");
  const card = item.querySelector<HTMLElement>(".pipe-place");
  if (card) mark(card, "trouble", String(place.trouble ?? false));
  const hop = item.querySelector<HTMLElement>(".pipe-hop");
  if (hop) mark(hop, "flows", String(place.hop?.flows ?? false));
}
