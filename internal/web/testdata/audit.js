// What keeps people from using this page, as a list of sentences.
(() => {
  document.getAnimations().forEach((a) => a.finish()); // colours on their way are none
  const found = [];
  const all = (s) => [...document.querySelectorAll(s)];
  const shown = (e) => e.checkVisibility({ visibilityProperty: true, contentVisibilityAuto: true }) && e.getClientRects().length > 0;
  const label = (e) => `<${e.tagName.toLowerCase()}${e.id ? ` id=${e.id}` : ""}${e.className && e.className.baseVal === undefined ? ` class="${e.className}"` : ""}> ${(e.textContent || e.name || e.value || "").trim().replace(/\s+/g, " ").slice(0, 40)}`;
  const text = (e) => (e.textContent || "").trim();
  const byId = (ids) => (ids || "").split(/\s+/).filter(Boolean).map((id) => document.getElementById(id));
  const name = (e) => {
    const by = byId(e.getAttribute("aria-labelledby"));
    if (by.length) return by.map((x) => (x ? text(x) : "")).join(" ").trim();
    return (e.getAttribute("aria-label") || "").trim() || text(e) || (e.getAttribute("title") || "").trim() || (e.querySelector("svg title, img[alt]") ? "picture" : "");
  };

  // The page as a whole.
  if (!document.documentElement.lang) found.push("the page has no language");
  if (!document.title) found.push("the page has no title");
  if (all("main").length !== 1) found.push(`there are ${all("main").length} main parts`);
  if (all("h1").length !== 1) found.push(`there are ${all("h1").length} headings of the first order`);
  const skip = document.querySelector("a, button, input");
  if (!skip || skip.getAttribute("href") !== "#main" || !document.getElementById("main")) found.push("the first link does not lead to the content");
  let level = 0;
  for (const h of all("h1, h2, h3, h4, h5, h6")) {
    const n = Number(h.tagName[1]);
    if (n > level + 1) found.push(`a heading of order ${n} follows one of order ${level}: ${label(h)}`);
    if (!text(h)) found.push("a heading is empty");
    level = n;
  }
  const ids = new Map();
  for (const e of all("[id]")) ids.set(e.id, (ids.get(e.id) || 0) + 1);
  for (const [id, n] of ids) if (n > 1) found.push(`the id ${id} is given ${n} times`);
  for (const e of all("[for], [aria-labelledby], [aria-describedby], [aria-controls]")) {
    for (const a of ["for", "aria-labelledby", "aria-describedby", "aria-controls"]) {
      if (e.hasAttribute(a) && byId(e.getAttribute(a)).some((x) => !x)) found.push(`${a} of ${label(e)} leads nowhere`);
    }
  }
  for (const e of all("a[href^='#']")) if (e.hash.length > 1 && !document.getElementById(decodeURIComponent(e.hash.slice(1)))) found.push(`${e.hash} is nowhere on the page`);
  const navs = all("nav").map((n) => n.getAttribute("aria-label") || "");
  if (navs.some((n) => !n) || new Set(navs).size !== navs.length) found.push(`the navigations are called ${JSON.stringify(navs)}`);
  for (const e of all("[tabindex]")) if (e.tabIndex > 0) found.push(`the order of ${label(e)} is forced`);
  for (const e of all("[style], style, script:not([src]), [onclick], [onchange], [onsubmit]")) found.push(`style or script within the page: ${label(e)}`);

  // Names.
  for (const e of all("input:not([type=hidden]), select, textarea")) {
    if (!e.hidden && !e.labels.length && !e.getAttribute("aria-label")) found.push(`a field has no label: ${label(e)} ${e.name}`);
  }
  for (const e of all("button, a[href], summary")) if (!name(e)) found.push(`nothing names ${label(e)}`);
  for (const e of all("img:not([alt])")) found.push(`a picture has no words: ${e.src}`);
  for (const e of all("svg")) {
    if (e.closest("[aria-hidden=true]")) continue;
    if (!name(e) || !["img", "group"].includes(e.getAttribute("role"))) found.push(`a drawing has no words or role: ${label(e)}`);
  }
  for (const e of all("[aria-hidden=true] a[href], [aria-hidden=true] button, [aria-hidden=true] input")) found.push(`hidden from some and not from others: ${label(e)}`);

  // Tables, lists, forms.
  for (const t of all("table")) {
    if (!t.querySelector("th")) found.push(`a table has no heads: ${label(t)}`);
    const wide = new Set([...t.rows].map((r) => [...r.cells].reduce((n, c) => n + c.colSpan, 0)));
    if (wide.size > 1) found.push(`rows of a table differ in their cells: ${[...wide]} in ${label(t)}`);
  }
  for (const e of all("th:not([scope])")) found.push(`a table's head has no scope: ${label(e)}`);
  for (const e of all("th")) if (!name(e)) found.push(`a table's head is empty in ${label(e.closest("table"))}`);
  for (const e of all("dl")) for (const c of e.children) if (!["DT", "DD", "DIV"].includes(c.tagName)) found.push(`a list of facts holds ${label(c)}`);
  for (const e of all("ul, ol")) for (const c of e.children) if (c.tagName !== "LI") found.push(`a list holds ${label(c)}`);
  for (const e of all("form[method=post]")) if (document.querySelector("[name=csrf]") && e.enctype !== "multipart/form-data" && !e.querySelector("[name=csrf]")) found.push(`a form has no token: ${e.action}`);

  // Colours: each text against what is behind it.
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const cache = new Map();
  const rgba = (colour) => {
    if (!cache.has(colour)) {
      canvas.clearRect(0, 0, 1, 1);
      canvas.fillStyle = colour;
      canvas.fillRect(0, 0, 1, 1);
      const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
      cache.set(colour, [r, g, b, a / 255]);
    }
    return cache.get(colour);
  };
  const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
  const behind = (e) => {
    if (!e) return [255, 255, 255, 1];
    const c = rgba(getComputedStyle(e).backgroundColor);
    return c[3] === 1 ? c : over(c, behind(e.parentElement));
  };
  const light = (c) => {
    const [r, g, b] = c.slice(0, 3).map((v) => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05); };
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const looked = new Set();
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement;
    if (!walk.currentNode.nodeValue.trim() || looked.has(e) || e.closest("svg, script, option, .visually-hidden, .skip") || !shown(e)) continue;
    looked.add(e);
    const style = getComputedStyle(e), below = behind(e);
    const size = parseFloat(style.fontSize), large = size >= 24 || size >= 18.66 && Number(style.fontWeight) >= 700;
    const is = contrast(over(rgba(style.color), below), below);
    if (is < (large ? 3 : 4.5)) found.push(`too little contrast, ${is.toFixed(2)}: ${label(e)}`);
  }
  for (const e of all("input:not([type=hidden]):not([type=checkbox]):not([type=radio]):not([type=file]), select, textarea")) {
    if (!shown(e)) continue;
    const is = contrast(rgba(getComputedStyle(e).borderTopColor), behind(e.parentElement));
    if (is < 3) found.push(`the edge of a field cannot be seen, ${is.toFixed(2)}: ${e.name}`);
  }

  // Size: nothing wider than the window, nothing too small to touch.
  const root = document.documentElement;
  if (root.scrollWidth > root.clientWidth) found.push(`the page is ${root.scrollWidth - root.clientWidth} pixels wider than the window`);
  if (root.clientWidth > 1200) for (const e of all(".scroll")) if (e.scrollWidth > e.clientWidth + 1) found.push(`a table is ${e.scrollWidth - e.clientWidth} pixels wider than its room: ${label(e)}`);
  for (const e of all("table")) {
    const box = e.closest(".card");
    if (box && shown(e) && !e.closest(".scroll") && e.getBoundingClientRect().right > box.getBoundingClientRect().right) found.push(`a table sticks out of its box: ${label(e)}`);
  }
  for (const e of all(".tag")) if (shown(e) && e.getBoundingClientRect().height > 4 * parseFloat(getComputedStyle(e).fontSize) && !e.classList.contains("long")) found.push(`a mark is squeezed: ${label(e)}`);
  for (const e of all("h1, h2, h3, p, dd, li, button, .tag, .note, .figure b, .figure span")) {
    const box = e.closest(".card, .figure, .note, main");
    if (!box || !shown(e) || e.closest(".scroll, .visually-hidden, nav.sections")) continue;
    if (e.getBoundingClientRect().right > box.getBoundingClientRect().right + 1) found.push(`sticks out of its box: ${label(e)}`);
  }
  for (const e of all("button, select, input:not([type=hidden]):not([type=checkbox]):not([type=radio])")) {
    const r = e.getBoundingClientRect();
    if (shown(e) && (r.width < 24 || r.height < 24)) found.push(`too small to touch, ${Math.round(r.width)} by ${Math.round(r.height)}: ${label(e)}`);
  }
  return found;
})()
