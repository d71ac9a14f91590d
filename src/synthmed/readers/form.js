"use strict";
// The state is kept in the browser after every answer, so that a closed form goes on where it was left.
const study = JSON.parse(document.getElementById("study").textContent);
const names = Object.keys(study.items), questions = Object.keys(study.questions);
const page = document.getElementById("page"), said = document.getElementById("said");
const KEY = "synthmed reader study " + study.identity;

// ------------------------------------------------------------------------------------------------------------- state
const fresh = () => ({ study: study.identity, code: newCode(), background: "", consent: false, comment: "", place: -1, answers: {} });

function newCode() {
  const letters = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
  return Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => letters[byte % 32]).join("");
}

let kept = true;
function keep() {
  try { localStorage.setItem(KEY, JSON.stringify(state)); } catch { kept = false; }
}
function before() {
  try { return JSON.parse(localStorage.getItem(KEY)); } catch { kept = false; return null; }
}
let state = before() || fresh();
let current = 0, since = performance.now();

// FNV-1a, 32 bits, of the UTF-8 bytes: it finds answers that were changed by hand or cut off.
function hash(text) {
  let value = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) value = Math.imul(value ^ byte, 0x01000193) >>> 0;
  return value;
}

// The order of the items is the reader's own: it follows from the code (mulberry32, Fisher and Yates).
function order() {
  let seed = hash(state.study + state.code);
  const random = () => {
    seed = (seed + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), seed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
  const found = [...names];
  for (let last = found.length - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1));
    [found[last], found[other]] = [found[other], found[last]];
  }
  return found;
}

const answersOf = (item) => (state.answers[item] ||= { seconds: 0 });
const missing = (item) => questions.filter((name) => study.questions[name].required && !answersOf(item)[name]);
const done = () => names.filter((item) => missing(item).length === 0).length;

// --------------------------------------------------------------------------------------------------------------- pages
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}
const button = (words, action, main = false) => element("button", { type: "button", class: main ? "main" : "", onclick: action }, words);

function show() {
  said.textContent = kept ? "" : "This browser keeps nothing for this file: save your answers before you close it.";
  page.replaceChildren(...(state.place < 0 ? start() : state.place < names.length ? item() : end()));
  page.focus();
  scrollTo(0, 0);
  since = performance.now();
}

function start() {
  const code = element("input", { type: "text", id: "code", value: state.code, maxlength: 12, autocomplete: "off", spellcheck: "false" });
  const backgrounds = Object.entries(study.backgrounds).map(([value, words]) =>
    element("label", {}, element("input", { type: "radio", name: "background", value, checked: state.background === value }), " " + words));
  const consent = element("input", { type: "checkbox", id: "consent", checked: state.consent });
  const labels = [...new Set(study.examples.map((one) => one.label))];
  const begin = () => {
    const background = page.querySelector("input[name=background]:checked");
    const given = code.value.trim().toUpperCase();
    if (!/^[A-Z0-9]{4,12}$/.test(given)) return refuse("The code has 4 to 12 letters and digits.", code);
    if (!background) return refuse("Please say what your background is.", page.querySelector("input[name=background]"));
    if (!consent.checked) return refuse("Please tick that you agree.", consent);
    if (given !== state.code) state.answers = {};
    Object.assign(state, { code: given, background: background.value, consent: true, place: 0 });
    keep();
    show();
  };
  return [
    element("h1", {}, study.title),
    ...study.purpose.map((words) => element("p", {}, words)),
    ...labels.flatMap((label) => [
      element("h2", {}, "Examples: " + label),
      element("div", { class: "examples" }, ...study.examples.filter((one) => one.label === label).map((one) =>
        element("figure", {}, element("img", { src: one.image, alt: "Example of " + label }))))]),
    element("h2", {}, "You"),
    element("fieldset", {}, element("legend", {}, "Your background"), ...backgrounds),
    element("p", {}, element("label", { for: "code" }, "Your code. Note it down: it stands in place of your name, and nobody can find you by it."), code),
    element("label", { class: "line" }, consent, study.consent),
    element("div", { class: "buttons" }, button("Begin", begin, true), loader()),
    element("p", { class: "small" }, "Nothing is sent anywhere: this page makes no connection, and your answers stay in this browser until you save them as a file."),
  ];
}

function loader() {
  const file = element("input", { type: "file", accept: ".json", hidden: true, id: "file", onchange: async () => load(await file.files[0].text()) });
  return element("span", {}, file, button("Go on with saved answers (JSON) …", () => file.click()));
}

function load(text) {
  let found;
  try { found = JSON.parse(text); } catch { return refuse("This file is no JSON."); }
  if (found.study !== study.identity) return refuse("These answers are of another study.");
  if (found.checksum !== checksum(found, found.answers || [])) return refuse("These answers were changed after they were saved.");
  const answers = Object.fromEntries(found.answers.map(({ item, position, seconds, ...given }) =>
    [item, { ...Object.fromEntries(Object.entries(given).filter(([, value]) => value)), seconds: Number(seconds) }]));
  state = { study: found.study, code: found.code, background: found.background, consent: true, comment: found.comment, place: 0, answers };
  const open = order().findIndex((name) => missing(name).length > 0);
  state.place = open < 0 ? names.length : open;
  keep();
  show();
}

function refuse(words, where) {
  said.textContent = words;
  if (where) where.focus();
}

function item() {
  const name = order()[state.place], given = answersOf(name);
  current = Math.max(0, questions.findIndex((question) => !given[question]));
  const asked = questions.map((question) => {
    const { text, answers, required } = study.questions[question];
    return element("fieldset", { id: "question-" + question }, element("legend", {}, text + (required ? "" : " (may be left out)")),
      ...Object.entries(answers).map(([value, words], number) => element("label", {},
        element("input", { type: "radio", name: question, value, checked: given[question] === value, onchange: () => answer(question, value) }),
        " ", element("kbd", {}, String(number + 1)), " " + words)));
  });
  const words = `Image ${state.place + 1} of ${names.length}`;
  const shown = element("img", { src: study.items[name], alt: words, style: `width:${study.display_size}px` });
  queueMicrotask(mark);
  return [
    element("div", { class: "head" }, element("strong", {}, words), element("span", { class: "small" }, "Your code: " + state.code)),
    element("progress", { max: names.length, value: done(), "aria-label": "Images answered" }),
    element("div", { class: "item" }, shown, element("div", { class: "questions" }, ...asked,
      element("div", { class: "buttons" }, button("Back", back), button("Next", next, true)),
      element("p", { class: "small" }, element("kbd", {}, "1"), " … answer the marked question, ", element("kbd", {}, "Enter"), " next, ",
        element("kbd", {}, "Backspace"), " back. You may close this page and go on later."))),
  ];
}

function end() {
  const comment = element("textarea", { id: "comment", rows: 4, oninput: () => { state.comment = comment.value; keep(); } }, state.comment);
  const left = names.length - done();
  return [
    element("h1", {}, left ? "Not all images are answered" : "Thank you"),
    element("p", {}, left ? `${left} of ${names.length} images still lack an answer.` : "All images are answered. Please save both files and send one of them to whoever gave you this form."),
    element("label", { for: "comment" }, "What helped you to decide, or what you would like to say:"), comment,
    element("div", { class: "buttons" },
      ...(left ? [button("To the first of them", () => { state.place = order().findIndex((name) => missing(name).length > 0); show(); }, true)] : []),
      button("Save answers (CSV)", () => save("csv"), !left), button("Save answers (JSON)", () => save("json"), !left),
      button("Back to the images", back)),
    element("p", { class: "small" }, "Your code: " + state.code),
    element("div", { class: "buttons" }, button("Forget everything in this browser", forget)),
  ];
}

function forget() {
  if (!confirm("Forget all answers in this browser? Save them first.")) return;
  localStorage.removeItem(KEY);
  state = fresh();
  show();
}

// ------------------------------------------------------------------------------------------------------------- answers
function spend() {
  if (state.place >= 0 && state.place < names.length) answersOf(order()[state.place]).seconds += (performance.now() - since) / 1000;
  since = performance.now();
}

function answer(question, value) {
  answersOf(order()[state.place])[question] = value;
  spend();
  keep();
  said.textContent = "";
  current = Math.min(questions.length - 1, questions.indexOf(question) + 1);
  page.querySelector("progress").value = done();
  mark();
}

function mark() {
  questions.forEach((name, number) => document.getElementById("question-" + name)?.classList.toggle("now", number === current));
}

function next() {
  const [open] = missing(order()[state.place]);
  if (open) return refuse("Please answer: " + study.questions[open].text, page.querySelector(`input[name="${open}"]`));
  move(state.place + 1);
}
const back = () => move(state.place - 1);

function move(place) {
  spend();
  state.place = place;
  keep();
  show();
}

document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("input[type=text], textarea");
  if (typing || event.ctrlKey || event.metaKey || event.altKey || state.place < 0 || state.place >= names.length) return;
  const question = questions[current], values = Object.keys(study.questions[question].answers);
  if (/^[1-9]$/.test(event.key) && Number(event.key) <= values.length) {
    const value = values[Number(event.key) - 1];
    page.querySelector(`input[name="${question}"][value="${value}"]`).checked = true;
    answer(question, value);
  } else if (event.key === "Enter" && !event.target.matches("button")) next();
  else if (event.key === "Backspace") back();
  else return;
  event.preventDefault();
});
addEventListener("pagehide", () => { spend(); keep(); });

// -------------------------------------------------------------------------------------------------------------- saving
function answers() {
  return order().map((item, place) => {
    const given = answersOf(item);
    return { item, position: String(place + 1), ...Object.fromEntries(questions.map((name) => [name, given[name] || ""])), seconds: given.seconds.toFixed(1) };
  }).filter((row) => questions.some((name) => row[name]));
}

// The same text as in readers/answers.py.
function checksum(about, rows) {
  const head = [about.study, about.code, about.background, about.comment, about.simulated];
  const text = [head, ...rows.map((row) => [row.item, row.position, ...questions.map((name) => row[name]), row.seconds])];
  return hash(text.map((fields) => fields.join("\u001f")).join("\u001e")).toString(16).padStart(8, "0");
}

function save(ending) {
  const about = { study: state.study, code: state.code, background: state.background, comment: state.comment.replace(/\s+/g, " ").trim(), simulated: "no" };
  const rows = answers(), sum = checksum(about, rows);
  const content = ending === "json"
    ? JSON.stringify({ ...about, answers: rows, checksum: sum }, null, 1) + "\n"
    : table(rows.map((row) => ({ ...about, ...row, checksum: sum })));
  const file = element("a", { href: URL.createObjectURL(new Blob([content], { type: ending === "json" ? "application/json" : "text/csv" })), download: `answers_${state.code}.${ending}` });
  file.click();
  setTimeout(() => URL.revokeObjectURL(file.href), 60000);
}

function table(rows) {
  const columns = ["study", "code", "background", "comment", "simulated", "item", "position", ...questions, "seconds", "checksum"];
  const cell = (text) => (/[",;\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  return [columns, ...rows.map((row) => columns.map((name) => row[name]))].map((fields) => fields.map(cell).join(",") + "\n").join("");
}

show();
