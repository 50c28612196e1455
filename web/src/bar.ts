// The sports bar: shelves of stickers. One tab stop; arrow keys move, Enter and Space tap, as buttons do.

import { element } from "./dom";
import { SHELVES, STICKERS, type Shelf, type Sticker } from "./stickers";

const BOUNCE_MS = 350;

export function fillBar(stickers: HTMLElement, shelves: HTMLElement, onTap: (sticker: Sticker) => void): void {
  const buttons = STICKERS.map((sticker) => button(sticker, onTap));
  stickers.replaceChildren(...buttons);
  stickers.addEventListener("keydown", (event) => move(event, stickers));
  stickers.addEventListener("focusin", (event) => focusOn(stickers, event.target));

  const choices: ("All" | Shelf)[] = ["All", ...SHELVES];
  const tabs = choices.map((choice) => {
    const tab = element("button", "shelf", choice);
    tab.type = "button";
    tab.addEventListener("click", () => choose(choice));
    return tab;
  });
  shelves.replaceChildren(...tabs);

  function choose(choice: "All" | Shelf): void {
    tabs.forEach((tab) => tab.setAttribute("aria-pressed", String(tab.textContent === choice)));
    buttons.forEach((one) => (one.hidden = choice !== "All" && one.dataset["shelf"] !== choice));
    focusOn(stickers, visible(stickers)[0] ?? null);
  }
  choose("All");
}

function button(sticker: Sticker, onTap: (sticker: Sticker) => void): HTMLButtonElement {
  const made = element("button", "sticker");
  made.type = "button";
  made.tabIndex = -1;
  made.dataset["reaction"] = sticker.reaction;
  made.dataset["shelf"] = sticker.shelf;
  made.title = sticker.label;
  made.setAttribute("aria-label", sticker.label);
  const face = element("span", "", sticker.reaction);
  face.setAttribute("aria-hidden", "true");
  made.append(face);
  made.addEventListener("click", () => {
    made.classList.remove("tapped");
    void made.offsetWidth;
    made.classList.add("tapped");
    window.setTimeout(() => made.classList.remove("tapped"), BOUNCE_MS);
    onTap(sticker);
  });
  return made;
}

function visible(stickers: HTMLElement): HTMLButtonElement[] {
  return [...stickers.querySelectorAll<HTMLButtonElement>("button:not([hidden])")];
}

/** The roving tab stop. */
function focusOn(stickers: HTMLElement, target: EventTarget | null): void {
  if (!(target instanceof HTMLButtonElement)) return;
  stickers.querySelectorAll("button").forEach((one) => (one.tabIndex = one === target ? 0 : -1));
}

function move(event: KeyboardEvent, stickers: HTMLElement): void {
  const buttons = visible(stickers);
  const at = buttons.findIndex((one) => one === document.activeElement);
  if (at < 0) return;
  const columns = buttons.filter((one) => one.offsetTop === buttons[0]?.offsetTop).length;
  const steps: Record<string, number> = {
    ArrowRight: 1,
    ArrowLeft: -1,
    ArrowDown: columns,
    ArrowUp: -columns,
    Home: -at,
    End: buttons.length - 1 - at,
  };
  const step = steps[event.key];
  if (step === undefined) return;
  event.preventDefault();
  buttons[Math.max(0, Math.min(buttons.length - 1, at + step))]?.focus();
}
