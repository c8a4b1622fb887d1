// What the pages need beyond HTML and CSS: the menu on a phone, light or dark, copying
// code, and reaching wide blocks by keyboard. Without it every page still reads.
"use strict";
(() => {
  const root = document.documentElement;

  function rememberTheme(theme) {
    root.dataset.theme = theme;
    // A browser may forbid storage; then the choice lasts as long as the page.
    try { localStorage.setItem("theme", theme); } catch { /* not stored */ }
  }

  function setUpTheme() {
    const button = document.getElementById("theme");
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const current = () => root.dataset.theme || (dark.matches ? "dark" : "light");
    button.hidden = false;
    button.addEventListener("click", () => rememberTheme(current() === "dark" ? "light" : "dark"));
  }

  function setUpMenu() {
    const button = document.getElementById("menu");
    const show = (open) => {
      document.body.classList.toggle("menu-open", open);
      button.setAttribute("aria-expanded", String(open));
    };
    root.classList.add("scripted");
    button.addEventListener("click", () => show(!document.body.classList.contains("menu-open")));
    document.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !document.body.classList.contains("menu-open")) return;
      show(false);
      button.focus();
    });
  }

  function addCopyButton(block) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    button.setAttribute("aria-label", "Copy this code");
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(block.querySelector("pre").innerText);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
    block.append(button);
  }

  // A block that scrolls must be reachable by keyboard; one that does not need not.
  function markScrollers() {
    for (const box of document.querySelectorAll("pre, .scroll, .math")) {
      const scrolls = box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight;
      if (scrolls) box.tabIndex = 0; else box.removeAttribute("tabindex");
    }
  }

  // The entry of the section being read is marked in "On this page".
  function followSections() {
    const links = new Map();
    for (const link of document.querySelectorAll("nav.page a[href^='#']")) {
      const section = document.getElementById(decodeURIComponent(link.hash.slice(1)));
      if (section) links.set(section, link);
    }
    const watch = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) {
        if (!isIntersecting) continue;
        for (const link of links.values()) link.removeAttribute("aria-current");
        links.get(target).setAttribute("aria-current", "location");
      }
    }, { rootMargin: "-10% 0px -80% 0px" });
    for (const section of links.keys()) watch.observe(section);
  }

  // Ticks of a checklist stay in this browser, by page and text.
  function keepTicks() {
    for (const box of document.querySelectorAll(".task-list-item input")) {
      const key = `tick:${location.pathname}:${box.parentElement.textContent.trim()}`;
      try {
        box.checked = box.checked || localStorage.getItem(key) === "1";
        box.addEventListener("change", () => localStorage.setItem(key, box.checked ? "1" : "0"));
      } catch { return; /* the browser forbids storage */ }
    }
  }

  setUpTheme();
  keepTicks();
  setUpMenu();
  if (navigator.clipboard) document.querySelectorAll(".cell_input .highlight").forEach(addCopyButton);
  markScrollers();
  followSections();
  document.querySelector("nav.book a[aria-current]")?.scrollIntoView?.({ block: "nearest" });
  addEventListener("resize", markScrollers);
})();
