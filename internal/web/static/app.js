// Comfort for people with scripts: every page works without this file.
"use strict";

// The theme is a cookie, so that the server draws the page in it from the start.
document.addEventListener("click", (e) => {
  const b = e.target.closest("button[name=theme]");
  if (!b) return;
  const theme = b.value;
  document.cookie = `oldguard-theme=${theme};path=/;max-age=31536000;samesite=lax`;
  document.documentElement.dataset.theme = theme;
  e.preventDefault();
});

// A row's box and the head's box: choose all that is shown.
document.addEventListener("change", (e) => {
  const form = e.target.closest("form[data-bulk]");
  if (!form) return;
  const boxes = [...form.querySelectorAll("input[name=id]")];
  const all = form.querySelector("input[data-all]");
  if (e.target === all) boxes.forEach((b) => { b.checked = all.checked; });
  const n = boxes.filter((b) => b.checked).length;
  if (all) { all.checked = n > 0 && n === boxes.length; all.indeterminate = n > 0 && n < boxes.length; }
  form.dataset.chosen = String(n);
  const count = form.querySelector("[data-count]");
  if (count) count.textContent = `(${n})`;
});
document.querySelectorAll("input[data-all]").forEach((b) => { b.hidden = false; });

// "/" goes to the search, as people are used to.
document.addEventListener("keydown", (e) => {
  if (e.key !== "/" || e.ctrlKey || e.metaKey || e.altKey || /^(input|textarea|select)$/i.test(e.target.tagName)) return;
  const box = document.querySelector("input[type=search]");
  if (box) { box.focus(); e.preventDefault(); }
});

// Files dropped on an upload form are its files.
document.addEventListener("dragover", (e) => { if (e.target.closest("[data-drop]")) { e.preventDefault(); e.target.closest("[data-drop]").classList.add("over"); } });
document.addEventListener("dragleave", (e) => { const d = e.target.closest("[data-drop]"); if (d) d.classList.remove("over"); });
document.addEventListener("drop", (e) => {
  const zone = e.target.closest("[data-drop]");
  if (!zone) return;
  e.preventDefault();
  zone.classList.remove("over");
  const input = zone.querySelector("input[type=file]");
  input.files = e.dataTransfer.files;
  input.dispatchEvent(new Event("change", { bubbles: true }));
});
document.addEventListener("change", (e) => {
  if (e.target.type !== "file") return;
  const out = e.target.closest("[data-drop]")?.querySelector("[data-files]");
  if (out) out.textContent = [...e.target.files].map((f) => f.name).slice(0, 5).join(", ") + (e.target.files.length > 5 ? ` and ${e.target.files.length - 5} more` : "");
});
