// Switch the theme at once; the server keeps the choice.
export function theme() {
  for (const form of document.querySelectorAll("[data-theme-form]")) {
    form.addEventListener("submit", async (event) => {
      const chosen = event.submitter?.value;
      if (!chosen) return;
      event.preventDefault();
      const root = document.documentElement;
      if (chosen === "system") delete root.dataset.theme;
      else root.dataset.theme = chosen;
      for (const button of form.querySelectorAll("[name=theme]"))
        button.setAttribute("aria-pressed", String(button.value === chosen));
      const body = new FormData(form);
      body.set("theme", chosen);
      const answer = await fetch(form.action, { method: "POST", body, redirect: "manual" });
      if (answer.type !== "opaqueredirect" && !answer.ok) form.submit();
    });
  }
}
