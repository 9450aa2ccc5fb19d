// The page to try the snippet on: loads it as any page would, and shows what it sends and what is answered.
const byId = id => document.getElementById(id);

function element(tag, text, name = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = name;
  return made;
}

function show(body, answer, refused) {
  const { batch, ...envelope } = JSON.parse(body);
  const entry = element("li", "");
  entry.append(element("span", batch.map(one => one.event || one.name || one.type).join(", ")));
  entry.append(element("pre", answer, refused ? "refused" : ""));
  const details = element("details", "");
  details.append(element("summary", "as it was sent"), element("pre", JSON.stringify({ batch, ...envelope }, null, 2)));
  entry.append(details);
  byId("sent").prepend(entry);
  byId("nothing").hidden = true;
}

const plainFetch = window.fetch;
window.fetch = async (url, options) => {
  try {
    const answer = await plainFetch(url, options);
    show(options.body, `${answer.status} ${await answer.clone().text()}`, !answer.ok);
    return answer;
  } catch (error) {
    show(options.body, `no answer (${error.message}); it is kept and sent again`, true);
    throw error;
  }
};

function load(key) {
  const script = document.createElement("script");
  script.src = "t.js";
  script.dataset.key = key;
  const { doNotTrack, globalPrivacyControl } = navigator;
  byId("signal").hidden = !(doNotTrack === "1" || globalPrivacyControl);
  byId("key-form").hidden = true;
  byId("controls").hidden = false;
  document.head.append(script);
  byId("embed").textContent = `<script async src="${new URL("t.js", location)}" data-key="${key}"></script>`;
}

// Objects are typed as JSON; what is none is said and not sent.
function typed(input) {
  byId("problem").textContent = "";
  try {
    return JSON.parse(input.value || "{}");
  } catch (error) {
    byId("problem").textContent = `${input.name}: ${error.message}`;
    throw error;
  }
}

const done = (event, act) => {
  event.preventDefault();
  act(event.target.elements);
};
byId("key-form").onsubmit = event => done(event, ({ key }) => load(key.value));
byId("track").onsubmit = event => done(event, ({ event: name, properties }) => throughline.track(name.value, typed(properties)));
byId("identify").onsubmit = event => done(event, ({ user, traits }) => throughline.identify(user.value, typed(traits)));
byId("page").onclick = () => throughline.page("Try");
byId("move").onclick = () => history.pushState({}, "", `?step=${history.length}`);
byId("reset").onclick = () => throughline.reset();
byId("ask").onclick = () => throughline.ask();
byId("agree").onclick = () => throughline.consent({ analytics: true });
byId("refuse").onclick = () => throughline.consent({ analytics: false });

const { key } = document.documentElement.dataset;
if (key) load(key);
else byId("key-form").hidden = false;
