// Keys: Ctrl/Cmd+K always; "?" and "g" then a letter while the person has them on.
export function shortcuts(openPalette) {
  const single = "shortcuts" in document.body.dataset;
  let jumping = 0;
  document.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && !event.altKey && event.key.toLowerCase() === "k") {
      event.preventDefault();
      openPalette();
      return;
    }
    if (!single || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const target = event.target;
    if (target.closest("input, textarea, select, [contenteditable], dialog[open]")) return;
    if (event.key === "?") {
      event.preventDefault();
      document.getElementById("help")?.togglePopover();
    } else if (event.key === "g") {
      jumping = event.timeStamp;
    } else if (event.timeStamp - jumping < 1200) {
      jumping = 0;
      document.querySelector(`[data-jump="${CSS.escape(event.key)}"]`)?.click();
    }
  });
}
