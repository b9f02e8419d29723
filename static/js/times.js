// Show the reader's own time beside a UTC one, on hover and on focus.
const format = new Intl.DateTimeFormat(undefined, {
  day: "numeric", month: "short", hour: "2-digit", minute: "2-digit",
  second: "2-digit", timeZoneName: "short",
});
let tip;

function show(time) {
  const moment = new Date(time.dateTime);
  if (Number.isNaN(moment.getTime())) return;
  time.removeAttribute("title"); // Else the browser's own tip covers ours.
  tip ??= Object.assign(document.createElement("div"), { className: "tip" });
  tip.setAttribute("role", "tooltip");
  tip.textContent = `${format.format(moment)} (your time)`;
  // Above everything, also inside an open dialog.
  (time.closest("dialog[open]") ?? document.body).append(tip);
  const place = time.getBoundingClientRect();
  const left = Math.min(place.left, innerWidth - tip.offsetWidth - 8);
  const above = place.top - tip.offsetHeight - 6;
  tip.style.left = `${Math.max(8, left)}px`;
  tip.style.top = `${above > 8 ? above : place.bottom + 6}px`;
}

const hide = () => tip?.remove();

export function localTimes() {
  document.addEventListener("pointerover", (event) => {
    const time = event.target.closest?.("time[datetime]");
    if (time) show(time);
    else hide();
  });
  document.addEventListener("focusin", ({ target }) => {
    const time = target.querySelector?.("time[datetime]")
      ?? target.closest("tr, li")?.querySelector("time[datetime]");
    if (time && target.matches(":focus-visible") && !target.matches("main, body, dialog, [role=region]"))
      show(time);
    else hide();
  });
  document.addEventListener("focusout", hide);
  document.addEventListener("scroll", hide, { capture: true, passive: true });
  document.addEventListener("keydown", (event) => event.key === "Escape" && hide());
}
