// Elements of the page.

export function element<K extends keyof HTMLElementTagNameMap>(tag: K, className: string, text?: string): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

export function get<T extends HTMLElement>(id: string, kind: new () => T): T {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`the page has no #${id}`);
  return found;
}

/** Writes only what differs: a screen reader and the layout hear of changes alone. */
export function say(where: Element, text: string): void {
  if (where.textContent !== text) where.textContent = text;
}

export function mark(where: HTMLElement, name: string, value: string): void {
  if (where.dataset[name] !== value) where.dataset[name] = value;
}

/** Decoration: there for the eye only. */
export function forTheEye<T extends Element>(made: T): T {
  made.setAttribute("aria-hidden", "true");
  return made;
}
