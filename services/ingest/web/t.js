// Throughline in a page: <script async src="https://HOST/t.js" data-key="KEY"></script>, see docs/clients/snippet.md.
// What is served is t.min.js, made of this by `python -m tests.support.minified`: less than 2 KB gzipped.
(() => {
  const BATCH_CHARACTERS = 2e4; // three bytes each at worst: browsers let 64 KB outlive a page
  const KEPT_TOUCHPOINTS = 500;
  const GATHER_S = 0.5;
  const LONGEST_WAIT_S = 900;
  const OURS = "throughline.";
  const CHOICE = "throughline-consent";

  const early = window.throughline || [];
  if (!early.map) return; // loaded before
  const script = document.currentScript;
  const queue = new Map(); // "q" and messageId to JSON; what is on its way is not in it
  let disk = {}, memory = {}; // what is remembered: the disk, once that is allowed
  let choice, gathering, survey, last;
  let tries = 0, paused = 0; // paused: how many batches wait for their next try
  let referrer = document.referrer;
  try {
    disk = localStorage || disk;
    choice = JSON.parse(disk[CHOICE]);
  } catch {} // blocked, or never chosen

  const allowed = () => choice?.analytics
    ?? !(script.dataset.consent || navigator.doNotTrack == 1 || navigator.globalPrivacyControl);

  const remember = (name, value) => {
    try {
      memory[OURS + name] = value;
    } catch {
      memory = { ...memory, [OURS + name]: value }; // the disk is full
    }
    return value;
  };

  const forget = name => delete memory[OURS + name];

  const settle = () => {
    if (!allowed()) {
      if (memory == disk) memory = {};
      for (const name in disk) if (name.startsWith(OURS)) delete disk[name];
    } else if (memory != disk) {
      try {
        Object.assign(disk, memory);
        memory = disk;
      } catch {} // full
    }
  };

  // crypto.randomUUID is for pages with TLS only.
  const digit = () => (crypto.getRandomValues(new Uint8Array(1))[0] & 15).toString(16);
  const uuid = () => "xxxxxxxx-xxxx-4xxx-8xxx-xxxxxxxxxxxx".replace(/x/g, digit);

  const here = () => location.href.split("#")[0];

  const after = (seconds, act) => setTimeout(() => {
    act();
    flush();
  }, seconds * 1e3);

  const flush = () => {
    if (paused || !allowed() || !navigator.onLine) return;
    const batch = [];
    let size = 0;
    for (const entry of queue) {
      if ((size += entry[1].length) > BATCH_CHARACTERS && batch[0]) break;
      batch.push(entry);
      queue.delete(entry[0]);
    }
    if (!size) return;
    const body = JSON.stringify({
      batch: batch.map(entry => JSON.parse(entry[1])),
      context: {
        consent: choice && { categoryPreferences: choice },
        gpc: navigator.globalPrivacyControl,
        library: { name: "throughline" },
        locale: navigator.language,
        userAgent: navigator.userAgent,
      },
      sentAt: new Date(),
      writeKey: script.dataset.key,
    });
    const again = seconds => {
      batch.map(entry => queue.set(...entry));
      paused++;
      after(Math.min(seconds || 2 ** tries++, LONGEST_WAIT_S) * (1 + Math.random()), () => paused--);
    };
    // Text needs no preflight. Nothing is forgotten before it is answered: sent twice, it counts once.
    fetch(new URL("v1/batch", script.src), { method: "POST", body, keepalive: size <= BATCH_CHARACTERS }).then(
      ({ status, headers }) => {
        if (status > 499 || status == 429 || status == 408) return again(+headers.get("Retry-After"));
        tries = 0;
        batch.map(entry => forget(entry[0]));
        flush();
      },
      () => again(),
    );
  };

  const send = (type, fields) => {
    if (choice?.analytics == false) return;
    let campaign;
    for (const [name, value] of new URLSearchParams(location.search)) {
      if (name.startsWith("utm_")) campaign = { ...campaign, [name == "utm_campaign" ? "name" : name.slice(4)]: value };
    }
    const { href: url, pathname: path, search } = location;
    const messageId = uuid();
    const touchpoint = JSON.stringify({
      type, messageId,
      anonymousId: remember("id", memory[OURS + "id"] || uuid()),
      userId: memory[OURS + "user"],
      timestamp: new Date(),
      context: { campaign, page: { path, referrer, search, title: document.title, url } },
      ...fields,
    });
    queue.set("q" + messageId, touchpoint);
    remember("q" + messageId, touchpoint);
    const [oldest] = queue.keys();
    if (queue.size > KEPT_TOUCHPOINTS) queue.delete(oldest), forget(oldest);
    gathering ||= after(GATHER_S, () => gathering = 0);
  };

  const api = window.throughline = {
    page(name, properties) {
      if (last && here() != last) referrer = last;
      last = here();
      send("page", { name, properties });
    },
    track(event, properties) {
      send("track", { event, properties });
    },
    identify(userId, traits) {
      if (userId) remember("user", userId);
      send("identify", { traits });
    },
    group(groupId, traits) {
      send("group", { groupId, traits });
    },
    reset() {
      forget("user");
      forget("id");
    },
    consent(categories) {
      choice = { ...choice, ...categories };
      try {
        disk[CHOICE] = JSON.stringify(choice);
      } catch {} // full
      if (choice.analytics == false) {
        queue.clear();
        memory = {};
      }
      settle();
      flush();
    },
    // One question, 1 to 5, and why: a touchpoint `Survey Answered`.
    ask({ question = "How was it, 1 (bad) to 5 (good)?", why = "Why?", send = "Send", close = "Close" } = {}) {
      if (!allowed() || survey?.isConnected) return;
      const make = (tag, properties, ...inside) => {
        const element = Object.assign(document.createElement(tag), properties);
        element.append(...inside);
        return element;
      };
      const style = "display:grid;gap:.5em";
      const ratings = [1, 2, 3, 4, 5].map(value =>
        make("label", {}, make("input", { type: "radio", name: "rating", required: true, value }), value));
      const form = make("form", {
        method: "dialog",
        style,
        onsubmit: () => api.track("Survey Answered", { rating: +form.rating.value, reason: form.reason.value, question }),
      },
        make("fieldset", {}, make("legend", {}, question), ...ratings),
        make("label", { style }, why, make("textarea", { name: "reason" })),
        make("button", {}, send),
        make("button", { type: "button", onclick: () => dialog.close() }, close),
      );
      const dialog = make("dialog", {
        ariaLabel: question,
        style: "position:fixed;inset:auto 1em 1em auto;z-index:9999;border:1px solid",
        onclose: () => survey.remove(),
        onkeydown({ key }) {
          if (key == "Escape") dialog.close();
        },
      }, form);
      survey = make("div");
      survey.attachShadow({ mode: "open" }).append(dialog);
      document.documentElement.append(survey);
      dialog.show();
    },
  };

  const view = () => {
    if (here() != last) api.page();
  };
  for (const name of ["pushState", "replaceState"]) {
    const plain = history[name];
    history[name] = function () {
      plain.apply(this, arguments);
      setTimeout(view);
    };
  }
  addEventListener("popstate", view);
  for (const event of ["online", "pagehide", "visibilitychange"]) addEventListener(event, flush);

  settle();
  for (const name in memory) if (name.startsWith(OURS + "q")) queue.set(name.slice(OURS.length), memory[name]);
  if (document.prerendering) document.onprerenderingchange = view; // nobody sees it yet
  else if (!early.some(([name]) => name == "page")) view();
  early.map(([name, args]) => api[name](...args));
})();
