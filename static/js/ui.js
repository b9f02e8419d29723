// Small manners of the pages: copying, dialogs, drawers, error summaries, toasts.

/** Say something in the corner; it is read aloud and leaves by itself. */
export function toast(text, tone = "ok") {
  const box = document.createElement("div");
  box.className = `callout toast ${tone}`;
  box.append(Object.assign(document.createElement("div"), { textContent: text }));
  document.getElementById("toasts")?.append(box);
  setTimeout(() => box.remove(), 6000);
}

/** Copy the code, or the secret, beside a button. */
export function copying() {
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const source = button.dataset.copy
      ? document.getElementById(button.dataset.copy)
      : button.closest(".code").querySelector("code");
    const word = button.querySelector("span") ?? button;
    const before = word.textContent;
    try {
      await navigator.clipboard.writeText(source.value ?? source.textContent);
      word.textContent = "Copied";
      button.dispatchEvent(new CustomEvent("aforo:copied", { bubbles: true }));
    } catch {
      getSelection().selectAllChildren(source);
      word.textContent = "Press Ctrl+C";
    }
    setTimeout(() => (word.textContent = before), 2000);
  });
}

/** Open and close dialogs where the browser lacks command/commandfor; fill the drawer. */
export function boxes() {
  const native = "command" in HTMLButtonElement.prototype;
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[commandfor]");
    if (button && !native) {
      const box = document.getElementById(button.getAttribute("commandfor"));
      if (button.getAttribute("command") === "close") box?.close();
      else if (!box?.open) box?.showModal();
    }
    // A click on the backdrop closes; [data-keep] boxes hold something shown once.
    const box = event.target;
    if (box instanceof HTMLDialogElement && box.open && !("keep" in box.dataset)) {
      const edge = box.getBoundingClientRect();
      const inside =
        event.clientX >= edge.left && event.clientX <= edge.right &&
        event.clientY >= edge.top && event.clientY <= edge.bottom;
      if (!inside) box.close();
    }
  });
  document.addEventListener("htmx:afterSwap", (event) => {
    const box = event.detail.target.closest("dialog.drawer");
    if (box && !box.open) box.showModal();
  });
  document.addEventListener("htmx:responseError", (event) => {
    const id = event.detail.xhr.getResponseHeader("X-Incident");
    const status = event.detail.xhr.status;
    toast(id ? `The server failed; nothing was changed. Incident ${id}.`
      : `The server answered ${status}; nothing was changed.`, "bad");
  });
  document.addEventListener("htmx:sendError", () =>
    toast("The server cannot be reached; nothing was changed. Try again.", "bad"));
}

/** Give the focus to the summary of a form's problems, also after a swap. */
export function errors() {
  const find = (root) => root.querySelector?.("[data-error-summary]")?.focus();
  find(document);
  document.addEventListener("htmx:afterSettle", (event) => find(event.detail.elt));
}

/** Ask before leaving a form that says data-guard with changes in it. */
export function leaving() {
  let dirty = false;
  document.addEventListener("input", (event) => {
    const unsaved = event.target.closest("form[data-guard]") && !event.target.closest("[data-unguarded]");
    if (unsaved) dirty = true;
  });
  document.addEventListener("submit", () => (dirty = false));
  document.addEventListener("aforo:saved", () => (dirty = false));
  addEventListener("beforeunload", (event) => dirty && event.preventDefault());
}
