// Shows the widgets saved in a page: no kernel, no module loader, no other host.
//
// A notebook keeps the state of its widgets, and the page carries that state as JSON. An
// anywidget's state holds its own JavaScript, so all a page needs is a model with
// get, set, on, off and save_changes. Boxes and links between widgets are understood too;
// any other widget of ipywidgets needs a kernel and is replaced by a sentence.
"use strict";
(() => {
  const MIME = "application/vnd.jupyter.widget-";
  const PREFIX = "IPY_MODEL_";
  const models = new Map();
  const modules = new Map();

  const idOf = (reference) => String(reference).replace(PREFIX, "");

  // Binary values are stored apart, as base64 with the path of the key they belong to.
  function withBuffers(state, buffers = []) {
    for (const { path, data } of buffers) {
      const owner = path.slice(0, -1).reduce((node, key) => node[key], state);
      const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
      owner[path.at(-1)] = new DataView(bytes.buffer);
    }
    return state;
  }

  class Model {
    constructor(saved) {
      this.name = saved.model_name;
      this.module = saved.model_module;
      this.state = withBuffers({ ...saved.state }, saved.buffers);
      this.listeners = new Map();
      this.widget_manager = { get_model: async (reference) => models.get(idOf(reference)) };
    }

    get(key) { return this.state[key]; }

    set(key, value) {
      const changes = typeof key === "object" ? Object.entries(key) : [[key, value]];
      const changed = changes.filter(([name, next]) => !Object.is(this.state[name], next));
      for (const [name, next] of changed) this.state[name] = next;
      for (const [name, next] of changed) this.emit("change:" + name, next);
      if (changed.length) this.emit("change");
    }

    on(names, listener) {
      for (const name of names.split(/\s+/)) {
        if (!this.listeners.has(name)) this.listeners.set(name, new Set());
        this.listeners.get(name).add(listener);
      }
    }

    off(names, listener) {
      if (!names) { this.listeners.clear(); return; }
      for (const name of names.split(/\s+/)) {
        if (listener) this.listeners.get(name)?.delete(listener); else this.listeners.delete(name);
      }
    }

    emit(name, value) {
      for (const listener of [...(this.listeners.get(name) ?? [])]) listener(this, value);
    }

    save_changes() { /* the page is the only place this state lives */ }
    send() { /* nobody listens without a kernel */ }
  }

  // One module per source text, so that two sliders of a kind are compiled once.
  function moduleOf(model) {
    const source = model.get("_esm");
    if (!modules.has(source)) modules.set(source, importText(source));
    return modules.get(source);
  }

  async function importText(source) {
    const address = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
    const { default: widget } = await import(address);
    URL.revokeObjectURL(address);
    return typeof widget === "function" ? widget() : widget;
  }

  function addStyle(css) {
    const styles = [...document.querySelectorAll("style.widget-style")];
    if (!css || styles.some((style) => style.textContent === css)) return;
    const style = document.createElement("style");
    style.className = "widget-style";
    style.textContent = css;
    document.head.append(style);
  }

  async function showAnywidget(model, el) {
    addStyle(model.get("_css"));
    const widget = await moduleOf(model);
    const { signal } = new AbortController();
    if (!model.initialized) {
      model.initialized = true;
      await widget.initialize?.({ model, signal, experimental: {} });
    }
    await widget.render?.({ model, el, signal, experimental: {} });
  }

  async function showBox(model, el) {
    el.classList.add(model.name === "HBoxModel" ? "widget-row" : "widget-column");
    for (const child of model.get("children") ?? []) {
      const part = document.createElement("div");
      el.append(part);
      await show(idOf(child), part);
    }
  }

  async function show(id, el) {
    const model = models.get(id);
    if (!model) throw new Error("its state is not saved in this page");
    if (/^[VH]BoxModel$/.test(model.name)) return showBox(model, el);
    if (model.module === "anywidget") return showAnywidget(model, el);
    el.textContent = "This control needs the notebook: open it in Colab or on your machine.";
    return undefined;
  }

  function connect(link) {
    const [source, sourceKey] = link.get("source");
    const [target, targetKey] = link.get("target");
    const from = models.get(idOf(source));
    const to = models.get(idOf(target));
    if (!from || !to) return;
    const copy = () => to.set(targetKey, from.get(sourceKey));
    from.on("change:" + sourceKey, copy);
    if (link.name === "LinkModel") to.on("change:" + targetKey, () => from.set(sourceKey, to.get(targetKey)));
    copy();
  }

  function start() {
    for (const script of document.querySelectorAll(`script[type="${MIME}state+json"]`)) {
      for (const [id, saved] of Object.entries(JSON.parse(script.textContent).state)) {
        models.set(id, new Model(saved));
      }
    }
    for (const model of models.values()) if (/LinkModel$/.test(model.name)) connect(model);
    for (const script of document.querySelectorAll(`script[type="${MIME}view+json"]`)) {
      const el = document.createElement("div");
      script.after(el);
      show(JSON.parse(script.textContent).model_id, el).catch((error) => {
        el.textContent = `This control could not start (${error.message}).`;
        console.error(error);
      });
    }
  }

  start();
})();
