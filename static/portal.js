// Small comforts. Every page works without this file.
"use strict";

// say() speaks to screen readers; show() also shows the words, for eight seconds.
const line = (className) => {
  const it = Object.assign(document.createElement("p"), { className, role: "status" });
  return document.body.appendChild(it);
};
const spoken = line("visually-hidden");
const toast = line("toast");
let timer;
const say = (text) => { spoken.textContent = ""; setTimeout(() => { spoken.textContent = text; }, 50); };
const show = (text) => {
  toast.textContent = text;
  clearTimeout(timer);
  timer = setTimeout(() => { toast.textContent = ""; }, 8000);
};

// Copy buttons, Show password: made visible here, since they do nothing without JavaScript.
const reveal = (root) => root.querySelectorAll("[data-copy], [data-show], [data-filter-box]").forEach((it) => { it.hidden = false; });

document.addEventListener("click", async (event) => {
  const copy = event.target.closest("[data-copy]");
  if (copy) {
    const box = document.getElementById(copy.dataset.copy);
    try {
      await navigator.clipboard.writeText(box.value ?? box.textContent);
      const word = copy.querySelector("span");
      word.textContent = "Copied";
      say("Copied");
      setTimeout(() => { word.textContent = "Copy"; }, 2000);
    } catch {
      box.focus();
      if (box.select) box.select();
      else getSelection().selectAllChildren(box);
      show("Selected: press Ctrl+C to copy");
    }
  }
  const eye = event.target.closest("[data-show]");
  if (eye) {
    const box = document.getElementById(eye.dataset.show);
    const shown = box.type === "password";
    box.type = shown ? "text" : "password";
    eye.textContent = shown ? "Hide" : "Show";
    eye.setAttribute("aria-label", shown ? "Hide password" : "Show password");
  }
});

document.addEventListener("input", (event) => {
  const box = event.target;
  if (box.matches("[data-user-code]")) hyphenate(box, event);
  if (box.matches("[data-filter]")) filterRows(box);
  if (box.matches("[data-names]")) document.querySelectorAll("[data-name-of]").forEach((it) => { it.textContent = box.value.trim() || it.dataset.nameOf; });
});

// WDJB-MJHT: only the hyphen is added, and only while typing at the end.
const hyphenate = (box, event) => {
  const letters = box.value.replace(/[^a-z0-9]/gi, "");
  if (letters.length === 4 && event.inputType?.startsWith("insert") && box.selectionEnd === box.value.length) box.value = `${letters}-`;
  else if (letters.length > 4 && !box.value.includes("-")) box.value = `${letters.slice(0, 4)}-${letters.slice(4)}`;
};

const filterRows = (box) => {
  const wanted = box.value.trim().toLowerCase();
  const rows = [...document.querySelectorAll(`#${box.dataset.filter} > .choice`)];
  rows.forEach((row) => { row.hidden = !row.textContent.toLowerCase().includes(wanted); });
  say(`${rows.filter((row) => !row.hidden).length} shown`);
};

// Owner: arrow keys and clicks in the list the server sends; typing a name or address works without it.
const ownerBox = () => document.querySelector("[role=combobox]");
const options = () => [...document.querySelectorAll("#owner-options [data-value]")];
const closeOptions = () => {
  const list = document.getElementById("owner-options");
  if (list) list.replaceChildren();
  ownerBox()?.setAttribute("aria-expanded", "false");
  ownerBox()?.removeAttribute("aria-activedescendant");
};
const ownerAnswered = () => {
  // One may have gone on to the next field meanwhile.
  if (document.activeElement !== ownerBox()) return closeOptions();
  const nobody = document.querySelector("#owner-options [aria-disabled]");
  if (nobody) say(nobody.textContent);
  ownerBox().removeAttribute("aria-activedescendant");
  ownerBox().setAttribute("aria-expanded", String(Boolean(nobody) || options().length > 0));
};
const choose = (option) => {
  ownerBox().value = option.dataset.value;
  closeOptions();
  ownerBox().dispatchEvent(new Event("change", { bubbles: true }));
};
document.addEventListener("mousedown", (event) => {
  const option = event.target.closest?.("#owner-options [data-value]");
  if (option) { event.preventDefault(); choose(option); }
});
document.addEventListener("focusout", (event) => { if (event.target === ownerBox()) closeOptions(); });
// A row's menu closes when the keyboard leaves it: it would hide what has the focus.
document.addEventListener("focusout", (event) => {
  const menu = event.target.closest?.("[popover]");
  const next = event.relatedTarget;
  if (menu && next && !menu.contains(next) && next.getAttribute("popovertarget") !== menu.id) menu.hidePopover();
});
document.addEventListener("keydown", (event) => {
  if (event.target !== ownerBox()) return;
  if (event.key === "Escape") closeOptions();
  const list = options();
  if (!list.length) return;
  const at = list.findIndex((it) => it.getAttribute("aria-selected") === "true");
  const steps = { ArrowDown: (at + 1) % list.length, ArrowUp: (at + list.length - (at < 0 ? 0 : 1)) % list.length };
  if (event.key in steps) {
    event.preventDefault();
    list.forEach((it, n) => it.setAttribute("aria-selected", n === steps[event.key]));
    const current = list[steps[event.key]];
    current.scrollIntoView({ block: "nearest" });
    ownerBox().setAttribute("aria-activedescendant", current.id);
  } else if (event.key === "Enter" && at >= 0) {
    event.preventDefault();
    choose(list[at]);
  }
});

let lastCount = document.querySelector("#results [data-count]")?.textContent;

// htmx: say what went wrong instead of doing nothing.
document.addEventListener("htmx:response:error", (event) => {
  const status = event.detail?.ctx?.response?.status;
  if (status >= 500) show("Portal could not do that just now. Please try again.");
});
document.addEventListener("htmx:error", () => show("Portal cannot be reached. Check your connection and try again."));
document.addEventListener("htmx:after:swap", (event) => {
  reveal(document);
  const count = document.querySelector("#results [data-count]")?.textContent;
  if (count && count !== lastCount) say(lastCount = count);
  if (event.target === ownerBox()) ownerAnswered();
});

reveal(document);
// The error summary has autofocus; this is for browsers that leave it out.
addEventListener("load", () => setTimeout(() => {
  if (document.activeElement === document.body) document.querySelector("[data-focus]")?.focus();
}, 100));

// On a phone the tabs do not all fit: bring the page's own into view.
document.querySelector(".tab[aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });

// A form's answer shows a secret: reloading or sharing the address shall not send the form again.
const shown = document.querySelector("[data-address]");
if (shown) history.replaceState(history.state, "", shown.dataset.address);
