"use strict";
// The page is complete without this: it adds search, the filter, the choice of a version and the copy buttons.
(() => {
  const $ = (id) => document.getElementById(id);
  const search = $("search"), count = $("count"), nothing = $("nothing"), category = $("category");
  const cards = [...document.querySelectorAll("article")];
  const arch = () => document.querySelector("#arch input:checked").value;

  // What is searched for is kept in the address, so that a link shows the same.
  const show = () => {
    const words = search.value.toLowerCase().replaceAll("_", "-").split(/\s+/).filter(Boolean);
    const wanted = arch(), kind = category?.value ?? "";
    let shown = 0;
    for (const card of cards) {
      const archs = card.dataset.arch.split(" ");
      const match = words.every((w) => card.dataset.text.includes(w)) && (wanted === "" || archs.includes(wanted)) &&
        (kind === "" || card.dataset.category === kind);
      card.hidden = !match;
      shown += match ? 1 : 0;
      for (const row of card.querySelectorAll("tr[data-arch]")) {
        row.hidden = wanted !== "" && row.dataset.arch !== wanted;
      }
      const choice = card.querySelector("select[name=arch]");
      if (choice && wanted !== "" && archs.includes(wanted) && choice.value !== wanted) {
        choice.value = wanted;
        fill(card);
      }
    }
    count.textContent = shown === 1 ? "1 extension" : shown + " extensions";
    nothing.hidden = shown !== 0;
    const query = new URLSearchParams();
    if (search.value) query.set("q", search.value);
    if (wanted) query.set("arch", wanted);
    if (kind) query.set("category", kind);
    const text = query.toString();
    try { history.replaceState(null, "", (text ? "?" + text : location.pathname) + location.hash); } catch { /* file: */ }
  };

  // The snippets of the version and architecture that were chosen.
  const fill = (card) => {
    const images = JSON.parse(card.querySelector("script[type='application/json']").textContent);
    const version = card.querySelector("select[name=version]").value;
    const wanted = card.querySelector("select[name=arch]");
    for (const option of wanted.options) {
      option.disabled = !images.some((i) => i.version === version && i.arch === option.value);
    }
    if (wanted.selectedOptions[0].disabled) wanted.value = [...wanted.options].find((o) => !o.disabled).value;
    const image = images.find((i) => i.version === version && i.arch === wanted.value);
    const first = images[0];
    for (const pre of card.querySelectorAll("pre")) {
      pre.dataset.first ??= pre.textContent;
      // In addresses some characters are written in another way.
      const text = pre.dataset.first.replaceAll(first.file, image.file).replaceAll(first.sha256, image.sha256)
        .replaceAll(encodeURIComponent(first.file), encodeURIComponent(image.file));
      // Behind the file's own name is that of its series left: in patterns and names of configuration files.
      pre.textContent = first.series ? text.replaceAll(first.series + ".", image.series + ".") : text;
    }
  };

  const copy = async (button) => {
    const text = button.closest(".snippet").querySelector("pre").textContent;
    let done = false;
    try {
      await navigator.clipboard.writeText(text);
      done = true;
    } catch {
      // Without a secure context there is no clipboard but this one.
      const area = document.createElement("textarea");
      area.value = text;
      area.style.position = "fixed";
      document.body.append(area);
      area.select();
      done = document.execCommand("copy");
      area.remove();
      button.focus();
    }
    button.textContent = done ? "Copied" : "Press Ctrl+C";
    button.classList.toggle("done", done);
    if (!done) getSelection().selectAllChildren(button.closest(".snippet").querySelector("pre"));
    setTimeout(() => { button.textContent = "Copy"; button.classList.remove("done"); }, 2000);
  };

  // One snippet at a time. https://www.w3.org/WAI/ARIA/apg/patterns/tabs/
  const tabs = (card) => {
    const panels = [...card.querySelectorAll(".snippet")];
    if (panels.length < 2) return;
    const list = document.createElement("div");
    list.className = "tabs";
    list.setAttribute("role", "tablist");
    list.setAttribute("aria-label", "Ways to use " + card.id);
    const buttons = panels.map((panel, i) => {
      const title = panel.querySelector("h3"), tab = document.createElement("button");
      tab.type = "button";
      tab.id = card.id + "-tab-" + i;
      tab.textContent = title.textContent;
      tab.setAttribute("role", "tab");
      panel.id = card.id + "-panel-" + i;
      tab.setAttribute("aria-controls", panel.id);
      panel.setAttribute("role", "tabpanel");
      panel.setAttribute("aria-label", tab.textContent + " of " + card.id);
      title.hidden = true;
      list.append(tab);
      return tab;
    });
    const select = (chosen) => buttons.forEach((tab, i) => {
      tab.setAttribute("aria-selected", String(i === chosen));
      tab.tabIndex = i === chosen ? 0 : -1;
      panels[i].hidden = i !== chosen;
    });
    list.addEventListener("click", (e) => {
      const i = buttons.indexOf(e.target);
      if (i >= 0) select(i);
    });
    list.addEventListener("keydown", (e) => {
      const at = buttons.indexOf(document.activeElement), last = buttons.length - 1;
      const to = { ArrowRight: at === last ? 0 : at + 1, ArrowLeft: at === 0 ? last : at - 1, Home: 0, End: last }[e.key];
      if (at < 0 || to === undefined) return;
      e.preventDefault();
      select(to);
      buttons[to].focus();
    });
    panels[0].before(list);
    select(0);
  };

  for (const card of cards) {
    card.querySelector(".choose").hidden = false;
    card.querySelector(".choose").addEventListener("change", () => fill(card));
    fill(card);
    tabs(card);
  }
  for (const button of document.querySelectorAll("button.copy")) {
    button.hidden = false;
    button.addEventListener("click", () => copy(button));
  }
  // An extension's own page has no search.
  if (!search) return;
  $("tools").addEventListener("submit", (e) => e.preventDefault());
  $("tools").addEventListener("input", show);
  $("tools").hidden = false;
  $("reset").addEventListener("click", () => {
    search.value = "";
    document.querySelector("#arch input[value='']").checked = true;
    if (category) category.value = "";
    show();
    search.focus();
  });
  addEventListener("keydown", (e) => {
    if (e.key === "/" && !e.ctrlKey && !e.metaKey && !/INPUT|SELECT|TEXTAREA/.test(document.activeElement.tagName)) {
      e.preventDefault();
      search.focus();
    }
  });
  const open = () => {
    const card = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (card?.tagName === "ARTICLE") card.querySelector("details").open = true;
  };
  addEventListener("hashchange", open);
  const query = new URLSearchParams(location.search);
  search.value = query.get("q") ?? "";
  const box = [...document.querySelectorAll("#arch input")].find((i) => i.value === (query.get("arch") ?? ""));
  if (box) box.checked = true;
  if (category && [...category.options].some((o) => o.value === query.get("category"))) category.value = query.get("category");
  show();
  open();
})();
